//! Writes the planes of a file, or its interleaved pixels, for comparison with another decoder:
//! `dump FILE 1|2|4|8 [rgb]`. The first line of the output is a header, then come the samples.

use std::io::Write;

use larder_jpeg::{Options, Scale, decode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, path, scale, rest @ ..] = arguments.as_slice() else {
        return Err("usage: dump FILE 1|2|4|8 [rgb]".into());
    };
    let side: usize = scale.parse()?;
    let scale = Scale::ALL.into_iter().find(|scale| scale.block_side() == side).ok_or("no such scale")?;
    let planes = decode(&std::fs::read(path)?, &Options { scale, ..Options::default() })?;
    let mut out = std::io::stdout().lock();
    if rest.is_empty() {
        let sizes: Vec<_> =
            planes.planes.iter().map(|plane| format!("{} {}", plane.width, plane.height)).collect();
        writeln!(out, "{:?} {}", planes.color_model, sizes.join(" "))?;
        for row in planes.planes.iter().flat_map(|plane| plane.rows()) {
            out.write_all(row)?;
        }
    } else {
        let picture = planes.to_interleaved().ok_or("neither grey nor RGB")?;
        writeln!(out, "{} {} {}", picture.channels, picture.width, picture.height)?;
        out.write_all(&picture.samples)?;
    }
    Ok(())
}
