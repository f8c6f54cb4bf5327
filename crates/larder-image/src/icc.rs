//! Colour profiles: from whatever a file says to sRGB.

use std::sync::Arc;

use moxcms::{
    CmsError, ColorProfile, DataColorSpace, Layout, RenderingIntent, TransformExecutor, TransformOptions,
};

use crate::Error;
use crate::picture::{Channels, Picture};

/// Largest profile that is looked at. 4 MiB: the largest printing profiles have some 2 MiB; the
/// tables of a larger one are not worth their time.
pub(crate) const PROFILE_BYTES_MAX: usize = 4 << 20;

/// The profile of a file as it is kept with the pixels: `None` for sRGB itself, and for what cannot be
/// converted from (which is shown as sRGB, as browsers do).
pub(crate) fn usable(profile: Option<Vec<u8>>, channels: Channels) -> Option<Arc<[u8]>> {
    let bytes = profile.filter(|bytes| bytes.len() <= PROFILE_BYTES_MAX)?;
    let parsed = ColorProfile::new_from_slice(&bytes).ok()?;
    let fits = match channels {
        Channels::Grey => parsed.color_space == DataColorSpace::Gray,
        Channels::Rgb | Channels::Rgba => parsed.color_space == DataColorSpace::Rgb,
    };
    let transform = if fits { transform(&parsed, channels).ok()? } else { return None };
    (channels == Channels::Grey || !changes_nothing(&*transform, channels)).then(|| bytes.into())
}

/// Whether a conversion is none, to within a rounding. What a profile is called says nothing about
/// that: sRGB has too many names.
fn changes_nothing(transform: &Transform, channels: Channels) -> bool {
    let alpha = if channels == Channels::Rgba { &[255][..] } else { &[] };
    let tones = (0..=255).step_by(15).map(|tone: u8| [tone, 255 - tone, tone / 2]);
    let probe: Vec<u8> = tones.flat_map(|tones| [&tones, alpha].concat()).collect();
    let mut converted = vec![0; probe.len()];
    transform.transform(&probe, &mut converted).is_ok()
        && probe.iter().zip(&converted).all(|(a, b)| a.abs_diff(*b) <= 2)
}

type Transform = dyn TransformExecutor<u8> + Send + Sync;

/// The conversion to sRGB. Grey comes out as three equal channels.
fn transform(source: &ColorProfile, channels: Channels) -> Result<Arc<Transform>, CmsError> {
    let (from, to) = match channels {
        Channels::Grey => (Layout::Gray, Layout::Rgb),
        Channels::Rgb => (Layout::Rgb, Layout::Rgb),
        Channels::Rgba => (Layout::Rgba, Layout::Rgba),
    };
    source.create_transform_8bit(from, &ColorProfile::new_srgb(), to, options())
}

fn options() -> TransformOptions {
    TransformOptions {
        rendering_intent: RenderingIntent::RelativeColorimetric,
        ..TransformOptions::default()
    }
}

/// The picture in sRGB, without a profile.
pub(crate) fn to_srgb(picture: Picture) -> Result<Picture, Error> {
    let Some(profile) = picture.profile.clone() else { return Ok(picture) };
    let source = ColorProfile::new_from_slice(&profile).map_err(internal)?;
    let (width, height, channels) = (picture.width(), picture.height(), picture.channels());
    let transform = transform(&source, channels).map_err(internal)?;
    let count = channels.count().max(3);
    let mut converted = vec![0; width as usize * height as usize * count];
    transform.transform(picture.pixels(), &mut converted).map_err(internal)?;
    if channels == Channels::Grey {
        converted = converted.as_chunks::<3>().0.iter().map(|pixel| pixel[1]).collect();
    }
    Ok(Picture::new(width, height, channels, converted))
}

/// Grey with alpha in sRGB, through the profile where it is one for grey: pictures with alpha have three
/// channels, to which such a profile no longer applies.
pub(crate) fn grey_with_alpha(
    (width, height): (u32, u32),
    pairs: &[[u8; 2]],
    profile: Option<Vec<u8>>,
) -> Result<Picture, Error> {
    let tones = pairs.iter().map(|pair| pair[0]).collect();
    let grey = Picture::new(width, height, Channels::Grey, tones);
    let grey = to_srgb(grey.with_profile(usable(profile, Channels::Grey)))?;
    let pixels = grey.pixels().iter().zip(pairs);
    let pixels = pixels.flat_map(|(&tone, &[_, alpha])| [tone, tone, tone, alpha]).collect();
    Ok(Picture::new(width, height, Channels::Rgba, pixels))
}

/// CMYK pixels (0 = no ink) as sRGB, through their profile where it is one for CMYK.
pub(crate) fn cmyk_to_srgb(cmyk: &[u8], profile: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let mut rgb = vec![0; cmyk.len() / 4 * 3];
    let parsed = profile
        .filter(|bytes| bytes.len() <= PROFILE_BYTES_MAX)
        .and_then(|bytes| ColorProfile::new_from_slice(bytes).ok())
        .filter(|parsed| parsed.color_space == DataColorSpace::Cmyk);
    if let Some(source) = parsed {
        let made =
            source.create_transform_8bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, options());
        if let Ok(transform) = made {
            transform.transform(cmyk, &mut rgb).map_err(internal)?;
            return Ok(rgb);
        }
    }
    for (ink, light) in cmyk.as_chunks::<4>().0.iter().zip(rgb.as_chunks_mut::<3>().0) {
        let paper = 255 - u32::from(ink[3]);
        for (channel, ink) in light.iter_mut().zip(ink) {
            *channel = ((255 - u32::from(*ink)) * paper).div_ceil(255) as u8;
        }
    }
    Ok(rgb)
}

fn internal(error: impl std::fmt::Debug) -> Error {
    Error::internal(format!("colour profile: {error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_profile_counts_as_none() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        assert!(usable(Some(srgb), Channels::Rgb).is_none());
    }

    #[test]
    fn a_wide_profile_moves_the_colours_and_leaves_grey_alone() {
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        let profile = usable(Some(p3), Channels::Rgb);
        assert!(profile.is_some());
        let picture =
            Picture::new(2, 1, Channels::Rgb, vec![200, 60, 60, 128, 128, 128]).with_profile(profile);
        let converted = to_srgb(picture).unwrap();
        assert!(converted.pixels()[0] > 205, "{:?}", converted.pixels());
        assert!(converted.pixels()[3..].iter().all(|tone| tone.abs_diff(128) <= 1));
        assert!(converted.profile.is_none());
    }

    #[test]
    fn grey_profiles_are_applied_and_stay_grey() {
        let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let profile = usable(Some(linear), Channels::Grey);
        let picture = Picture::new(1, 1, Channels::Grey, vec![55]).with_profile(profile);
        let converted = to_srgb(picture).unwrap();
        assert_eq!(converted.channels(), Channels::Grey);
        // 55/255 in linear light is 0.216, which sRGB writes as 0.502.
        assert!(converted.pixels()[0].abs_diff(128) <= 2, "{:?}", converted.pixels());
    }

    #[test]
    fn a_grey_profile_counts_for_grey_with_alpha() {
        let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let picture = grey_with_alpha((2, 1), &[[55, 255], [55, 9]], Some(linear)).unwrap();
        let [first, second] = picture.pixels().as_chunks::<4>().0 else { panic!("two pixels") };
        assert!(first[0].abs_diff(128) <= 2 && first[3] == 255, "{first:?}");
        assert_eq!((first[..3].to_vec(), second[3]), (second[..3].to_vec(), 9));
        assert!(picture.profile.is_none());
    }

    #[test]
    fn a_profile_of_other_channels_or_of_no_sense_is_ignored() {
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        assert!(usable(Some(p3), Channels::Grey).is_none());
        assert!(usable(Some(b"no profile".to_vec()), Channels::Rgb).is_none());
    }

    #[test]
    fn plain_cmyk_is_paper_less_ink() {
        let rgb = cmyk_to_srgb(&[0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0, 0], None).unwrap();
        assert_eq!(rgb, [255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
    }
}
