//! Encodes raw samples, for comparison with another encoder:
//! `encode RAW WIDTH HEIGHT grey|rgb|ycc 444|422|420 QUALITY optimal|standard [PROFILE]`. Planes follow one
//! another without gaps. The file goes to standard output.

use std::io::Write;

use larder_jpeg::{EncodeOptions, PlaneView, RgbView, Sampling, Source, encode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, raw, width, height, kind, sampling, quality, tables, rest @ ..] = arguments.as_slice() else {
        return Err("usage: encode RAW WIDTH HEIGHT grey|rgb|ycc 444|422|420 QUALITY optimal|standard".into());
    };
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let sampling = match sampling.as_str() {
        "444" => Sampling::S444,
        "422" => Sampling::S422,
        _ => Sampling::S420,
    };
    let samples = std::fs::read(raw)?;
    let plane = |width, height, samples| PlaneView { width, height, stride: width, samples };
    let source = match kind.as_str() {
        "grey" => Source::Grey(plane(width, height, &samples)),
        "rgb" => Source::Rgb(RgbView { width, height, stride: 3 * width, samples: &samples }),
        _ => {
            let (across, down) = sampling.chroma_size(width, height);
            let (luma, chroma) = samples.split_at(width * height);
            let (blue, red) = chroma.split_at(across * down);
            Source::YCbCr([plane(width, height, luma), plane(across, down, blue), plane(across, down, red)])
        }
    };
    let profile = rest.first().map(std::fs::read).transpose()?;
    let options = EncodeOptions {
        quality: quality.parse()?,
        sampling,
        optimal_tables: tables == "optimal",
        icc_profile: profile.as_deref(),
        interrupt: None,
    };
    std::io::stdout().write_all(&encode(&source, &options)?)?;
    Ok(())
}
