//! Encodes the planes of a file again and again: `encode_speed FILE planes|rgb QUALITY optimal|standard ROUNDS`.
//! Tells the fastest round.

use std::time::{Duration, Instant};

use larder_jpeg::{EncodeOptions, Options, Sampling, decode, encode};

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, path, kind, quality, tables, rounds] = arguments.as_slice() else {
        return Err("usage: encode_speed FILE planes|rgb QUALITY optimal|standard ROUNDS".into());
    };
    let planes = decode(&std::fs::read(path)?, &Options::default())?;
    let pixels = planes.to_interleaved().ok_or("neither grey nor three components")?;
    let (source, sampling) = match kind.as_str() {
        "planes" => planes.source().ok_or("no common sampling")?,
        _ => (pixels.source().ok_or("no pixels")?, Sampling::default()),
    };
    let optimal_tables = tables == "optimal";
    let options = EncodeOptions { quality: quality.parse()?, sampling, optimal_tables, ..Default::default() };
    let (mut fastest, mut bytes) = (Duration::MAX, 0);
    for _ in 0..rounds.parse()? {
        let start = Instant::now();
        bytes = encode(&source, &options)?.len();
        fastest = fastest.min(start.elapsed());
    }
    println!("{bytes} bytes, {:.2} ms", fastest.as_secs_f64() * 1e3);
    Ok(())
}
