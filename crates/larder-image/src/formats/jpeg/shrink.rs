//! Decoding at 1/2, 1/4 or 1/8: a smaller inverse transform gives the smaller picture at once.

use larder_jpeg::{ColorModel, Error as Refused, Limits, Options, Scale, decode};

use super::{SCANS_MAX, header, picture};
use crate::picture::{Channels, Picture};
use crate::{Deadline, Error, Inspection};

/// The picture at the smallest scale that reaches `wanted`. Inks and colours without a convention, kinds
/// that the scaling decoder does not know, and files that it refuses go to the full decoder, whose word
/// on a file is the last, at whatever size it is wanted.
pub(super) fn shrink(
    bytes: &[u8],
    inspection: &Inspection,
    wanted: (u32, u32),
    deadline: Deadline,
) -> Result<Option<Picture>, Error> {
    let Ok(coded) = larder_jpeg::Header::read(bytes) else { return Ok(None) };
    let channels = match coded.color_model() {
        ColorModel::Grey => Channels::Grey,
        ColorModel::YCbCr | ColorModel::Rgb => Channels::Rgb,
        ColorModel::Cmyk | ColorModel::Ycck | ColorModel::Unknown => return Ok(None),
    };
    let size = (coded.frame.width, coded.frame.height);
    if size != (inspection.width_px as usize, inspection.height_px as usize) {
        return Ok(None);
    }
    let scale = match Scale::reaching(size, (wanted.0 as usize, wanted.1 as usize)) {
        Scale::Full => return Ok(None),
        // At 1/8 the scans behind the first ones would not be read, and a file has to be sound in full.
        Scale::Eighth if coded.frame.progressive => Scale::Quarter,
        scale => scale,
    };
    let expired = || deadline.expired();
    let limits = Limits {
        max_pixels: inspection.pixels(),
        max_memory_bytes: inspection.decode_memory_bytes,
        max_scans: SCANS_MAX,
        ..Limits::default()
    };
    let planes = match decode(bytes, &Options { scale, limits, interrupt: Some(&expired) }) {
        Ok(planes) => planes,
        Err(Refused::Interrupted(_)) => return Err(Error::TimedOut),
        Err(_) => return Ok(None),
    };
    let Some(pixels) = planes.to_interleaved() else { return Ok(None) };
    let profile = header(bytes)?.icc();
    let side = |length: usize| {
        u32::try_from(length).map_err(|_| Error::internal("a scaled JPEG is larger than the file"))
    };
    Ok(Some(picture(side(pixels.width)?, side(pixels.height)?, channels, pixels.samples, profile)))
}
