//! Decoding in planes, at 1/2, 1/4 or 1/8 where that is enough: a smaller inverse transform gives the
//! smaller picture at once.

use larder_jpeg::{ColorModel, Error as Refused, Frame, Header, Limits, Options, Planes, Scale, decode};

use super::{SCANS_MAX, header, picture};
use crate::formats::{Format, Wanted};
use crate::icc;
use crate::picture::{Channels, Pixels};
use crate::planar::{Component, Planar};
use crate::{Deadline, Error, Inspection};

/// The picture at the smallest scale that reaches what is wanted; `None` for inks, colours without a
/// convention and kinds that this decoder does not know, of which the other one makes pixels.
pub(super) fn scaled(
    bytes: &[u8],
    inspection: &Inspection,
    wanted: Wanted,
    deadline: Deadline,
) -> Result<Option<Pixels>, Error> {
    let Some(coded) = known(bytes, inspection)? else { return Ok(None) };
    let size = (coded.frame.width, coded.frame.height);
    let model = coded.color_model();
    let scale = match Scale::reaching(size, (wanted.size.0 as usize, wanted.size.1 as usize)) {
        // Without planes nothing is gained at full size.
        Scale::Full if model != ColorModel::YCbCr => return Ok(None),
        // A new file has to be sound in full.
        Scale::Eighth if !wanted.trusted => smallest_in_full(&coded),
        scale => scale,
    };
    let Some(planes) = planes(bytes, inspection, scale, deadline)? else { return Ok(None) };
    let profile = header(bytes)?.icc();
    if model == ColorModel::YCbCr {
        let planar = planar(inspection, &coded.frame, planes)?;
        let planar = planar.with_profile(icc::usable(profile, Channels::Rgb));
        return Ok(Some(Pixels::Planar(Box::new(planar))));
    }
    let channels = if model == ColorModel::Grey { Channels::Grey } else { Channels::Rgb };
    let Some(pixels) = planes.to_interleaved() else { return Ok(None) };
    let side = |length: usize| {
        u32::try_from(length).map_err(|_| Error::internal("a scaled JPEG is larger than the file"))
    };
    let (width, height) = (side(pixels.width)?, side(pixels.height)?);
    Ok(Some(Pixels::Interleaved(picture(width, height, channels, pixels.samples, profile))))
}

/// Refuses a file that is not sound, as [`scaled`] does at any scale: whether a file is taken must not
/// depend on what is made of it.
pub(super) fn check(bytes: &[u8], inspection: &Inspection, deadline: Deadline) -> Result<(), Error> {
    match known(bytes, inspection)? {
        Some(coded) => planes(bytes, inspection, smallest_in_full(&coded), deadline).map(drop),
        None => Ok(()),
    }
}

/// The header, if it is of a kind that is decoded here. A damaged one is no other kind.
fn known<'b>(bytes: &'b [u8], inspection: &Inspection) -> Result<Option<Header<'b>>, Error> {
    let coded = match Header::read(bytes) {
        Ok(coded) => coded,
        Err(refused @ (Refused::Truncated(_) | Refused::Corrupt { .. })) => {
            return Err(Error::undecodable(Format::Jpeg, refused.to_string()));
        }
        Err(_) => return Ok(None),
    };
    let size = (coded.frame.width, coded.frame.height);
    let same = size == (inspection.width_px as usize, inspection.height_px as usize);
    let known = matches!(coded.color_model(), ColorModel::Grey | ColorModel::YCbCr | ColorModel::Rgb);
    Ok((same && known).then_some(coded))
}

/// The smallest scale at which all of the file is read: at 1/8, the scans behind the first ones of a
/// progressive file are not.
fn smallest_in_full(coded: &Header<'_>) -> Scale {
    if coded.frame.progressive { Scale::Quarter } else { Scale::Eighth }
}

/// `None` for what only shows within the file to be of a kind that is not decoded here.
fn planes(
    bytes: &[u8],
    inspection: &Inspection,
    scale: Scale,
    deadline: Deadline,
) -> Result<Option<Planes>, Error> {
    let expired = || deadline.expired();
    let limits = Limits {
        max_pixels: inspection.pixels(),
        max_memory_bytes: inspection.decode_memory_bytes,
        max_scans: SCANS_MAX,
        ..Limits::default()
    };
    match decode(bytes, &Options { scale, limits, interrupt: Some(&expired) }) {
        Ok(planes) => Ok(Some(planes)),
        Err(Refused::Interrupted(_)) => Err(Error::TimedOut),
        Err(refused @ (Refused::Truncated(_) | Refused::Corrupt { .. })) => {
            Err(Error::undecodable(Format::Jpeg, refused.to_string()))
        }
        Err(_) => Ok(None),
    }
}

fn planar(inspection: &Inspection, frame: &Frame, planes: Planes) -> Result<Planar, Error> {
    let most = frame
        .components
        .iter()
        .fold((1, 1), |most, component| (component.horizontal.max(most.0), component.vertical.max(most.1)));
    // A block stands for 8 pixels a side at every scale.
    let shrunk = 8.0 / planes.scale.block_side() as f64;
    let pitch = |most: u8, factor: u8| f64::from(most) / f64::from(factor) * shrunk;
    let components = planes.planes.into_iter().zip(&frame.components).map(|(plane, coded)| {
        Component::new(plane, (pitch(most.0, coded.horizontal), pitch(most.1, coded.vertical)))
    });
    let components: Vec<_> = components.collect();
    let components = components.try_into().map_err(|_| Error::internal("YCbCr without three planes"))?;
    Ok(Planar::new((inspection.width_px, inspection.height_px), components))
}
