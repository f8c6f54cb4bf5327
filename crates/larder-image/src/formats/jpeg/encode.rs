//! Encoding: baseline, 4:2:0, with Huffman tables made for the picture.

use larder_jpeg::{EncodeError, EncodeOptions, PlaneView, RgbView, Source};

use crate::formats::{Coding, Load};
use crate::picture::{Channels, Picture};
use crate::planar::Planar;
use crate::recipe::Quality;
use crate::{Deadline, Error};

/// What the blocks say, kept until the tables are known, and the file: noise at quality 100 takes 5 bytes
/// a pixel for both.
pub(super) fn memory_bytes(load: &Load) -> u64 {
    load.pixels * 6 + (1 << 20)
}

pub(super) fn interleaved(picture: &Picture, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let (width, height, stride) = (picture.width() as usize, picture.height() as usize, picture.stride());
    let samples = picture.pixels();
    let source = match picture.channels() {
        Channels::Grey => Source::Grey(PlaneView { width, height, stride, samples }),
        Channels::Rgb => Source::Rgb(RgbView { width, height, stride, samples }),
        Channels::Rgba => return Err(Error::internal("JPEG has no alpha")),
    };
    encode(&source, coding, picture.profile.as_deref(), deadline)
}

pub(super) fn planar(planes: &Planar, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let source = Source::YCbCr(planes.planes().map(|plane| plane.view()));
    encode(&source, coding, planes.profile.as_deref(), deadline)
}

fn encode(
    source: &Source<'_>,
    coding: Coding,
    icc_profile: Option<&[u8]>,
    deadline: Deadline,
) -> Result<Vec<u8>, Error> {
    // Tables made for the picture cost no time, so there is only one effort.
    let Quality::Lossy(quality) = coding.quality else {
        return Err(Error::recipe("quality:lossless is not possible with format:jpeg"));
    };
    let expired = || deadline.expired();
    let options =
        EncodeOptions { quality, icc_profile, interrupt: Some(&expired), ..EncodeOptions::default() };
    larder_jpeg::encode(source, &options).map_err(|error| match error {
        EncodeError::Interrupted => Error::TimedOut,
        other => Error::internal(format!("JPEG encoder: {other}")),
    })
}
