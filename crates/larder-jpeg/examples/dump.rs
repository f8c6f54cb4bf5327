//! Writes what files decode to, for comparison with another decoder. Each line of the input is `WANTED,... FILE`,
//! where a wanted thing is `1`, `2`, `4` or `8` for the planes at so many eighths, or `rgb` for interleaved pixels at
//! full scale. For each comes a line, the number of samples first, and the samples; for a refusal a line that says
//! so.

use std::io::Write;

use larder_jpeg::{Options, Scale, decode};

/// What the line says behind the number of samples, and these.
type Answer = Result<(String, Vec<u8>), Box<dyn std::error::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        let line = line?;
        let (wanted, path) = line.split_once(' ').ok_or("a line is WANTED,... FILE")?;
        let bytes = std::fs::read(path)?;
        for wanted in wanted.split(',') {
            let answer = if wanted == "rgb" { rgb(&bytes) } else { planes(&bytes, wanted.parse()?) };
            match answer {
                Ok((line, samples)) => {
                    writeln!(out, "{} {line}", samples.len())?;
                    out.write_all(&samples)?;
                }
                Err(refused) => writeln!(out, "refused {refused}")?,
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// The line has the color model, the size of the picture, and that of each plane.
fn planes(bytes: &[u8], side: usize) -> Answer {
    let scale = Scale::ALL.into_iter().find(|scale| scale.block_side() == side).ok_or("no such scale")?;
    let planes = decode(bytes, &Options { scale, ..Options::default() })?;
    let mut line = format!("{:?} {} {}", planes.color_model, planes.width, planes.height);
    for plane in &planes.planes {
        line += &format!(" {} {}", plane.width, plane.height);
    }
    Ok((line, planes.planes.iter().flat_map(|plane| plane.rows()).flatten().copied().collect()))
}

/// The line has the number of channels and the size of the picture.
fn rgb(bytes: &[u8]) -> Answer {
    let planes = decode(bytes, &Options::default())?;
    let picture = planes.to_interleaved().ok_or("it is neither grey nor RGB")?;
    Ok((format!("{} {} {}", picture.channels, picture.width, picture.height), picture.samples))
}
