//! Files that are written: those of libjpeg-turbo by digest, and what they decode to.

use larder_jpeg::{
    EncodeError, EncodeOptions, Header, Options, PlaneView, RgbView, Sampling, Source, decode, encode,
    encode_memory_bytes,
};

const WIDTH: usize = 83;
const HEIGHT: usize = 61;

/// The picture of `tests/oracle/compare_encode.py --golden`.
fn picture() -> Vec<u8> {
    let places = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
    let pixels = places.map(|(x, y)| [x * 3 + y * y / 7, x * y / 5 + 40, x * x / 9 + y * 2]);
    pixels.flatten().map(|value| value as u8).collect()
}

/// FNV-1a in 64 bits.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn rgb(samples: &[u8], width: usize, height: usize) -> Source<'_> {
    Source::Rgb(RgbView { width, height, stride: 3 * width, samples })
}

fn plane(samples: &[u8], width: usize, height: usize) -> PlaneView<'_> {
    PlaneView { width, height, stride: width, samples }
}

/// A small generator (xorshift), so that tests repeat themselves.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    /// Samples that are even, smooth, or noise.
    fn samples(&mut self, count: usize) -> Vec<u8> {
        let (kind, step) = (self.next() % 3, self.next() % 7);
        (0..count)
            .map(|at| match kind {
                0 => 99,
                1 => (at * step / 5) as u8,
                _ => self.next() as u8,
            })
            .collect()
    }
}

#[test]
fn files_are_those_of_libjpeg_turbo() {
    // The quality, whether tables are optimal; the digests of grey, 4:4:4, 4:2:2, 4:2:0.
    let golden = [
        (
            40,
            true,
            [0x3229_78CA_03D6_FB8D, 0xDD5E_68CB_0556_A468, 0x8B6B_426C_3A5F_D003, 0x14BC_AEF0_8C35_E1F8],
        ),
        (
            92,
            true,
            [0x0A01_73C0_0B73_EB09, 0x8B63_042F_8BA1_3FE5, 0xB4AE_16A1_DD0D_646E, 0x7CD5_5D51_30B3_E59B],
        ),
        (
            40,
            false,
            [0x2245_80E4_F16C_CAB8, 0xA764_B148_4C58_A4B7, 0x0DD4_523B_420F_46BD, 0x3197_9380_A6D3_59E3],
        ),
        (
            92,
            false,
            [0x4BE3_755F_1D69_2A7D, 0xB6EB_4590_F3B0_01C1, 0x4006_E37E_E16E_8B69, 0x5448_3992_1EB2_5386],
        ),
    ];
    let pixels = picture();
    let grey: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    for (quality, optimal_tables, expected) in golden {
        let options = EncodeOptions { quality, optimal_tables, ..EncodeOptions::default() };
        let mut files = vec![encode(&Source::Grey(plane(&grey, WIDTH, HEIGHT)), &options).unwrap()];
        for sampling in Sampling::ALL {
            files.push(encode(&rgb(&pixels, WIDTH, HEIGHT), &EncodeOptions { sampling, ..options }).unwrap());
        }
        let found: Vec<_> = files.iter().map(|file| digest(file)).collect();
        assert_eq!(found, expected, "quality {quality}, optimal tables: {optimal_tables}");
    }
}

#[test]
fn planes_of_every_size_come_back_nearly_as_they_were() {
    let mut random = Random(0x5DEE_CE66_D123_4567);
    for round in 0..400 {
        let (width, height) = (1 + random.next() % 70, 1 + random.next() % 70);
        let sampling = Sampling::ALL[round % 3];
        let (across, down) = sampling.chroma_size(width, height);
        let parts = [(width, height), (across, down), (across, down)];
        let samples = parts.map(|(width, height)| random.samples(width * height));
        let planes = [0, 1, 2].map(|index| plane(&samples[index], parts[index].0, parts[index].1));
        let source = if round % 4 == 0 { Source::Grey(planes[0]) } else { Source::YCbCr(planes) };
        let optimal_tables = round % 5 != 0;
        let options = EncodeOptions { quality: 100, sampling, optimal_tables, ..EncodeOptions::default() };
        let decoded = decode(&encode(&source, &options).unwrap(), &Options::default()).unwrap();
        assert_eq!((decoded.width, decoded.height), (width, height));
        for (found, expected) in decoded.planes.iter().zip(&planes) {
            assert_eq!((found.width, found.height), (expected.width, expected.height));
            for (y, row) in found.rows().enumerate() {
                for (x, &sample) in row.iter().enumerate() {
                    let difference = i32::from(sample) - i32::from(expected.samples[y * expected.stride + x]);
                    assert!(
                        difference.abs() <= 3,
                        "{difference} at {x}, {y} of {width}x{height} {sampling:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_was_decoded_is_encoded_again_without_a_loss() {
    let mut random = Random(99);
    for sampling in Sampling::ALL {
        let pixels: Vec<u8> = (0..3 * 64 * 48).map(|at| (30 + at / 60 + random.next() % 9) as u8).collect();
        let options = EncodeOptions { quality: 90, sampling, ..EncodeOptions::default() };
        let first = encode(&rgb(&pixels, 64, 48), &options).unwrap();
        let planes = decode(&first, &Options::default()).unwrap();
        let (source, found) = planes.source().unwrap();
        assert_eq!(found, sampling);
        // Blocks are the same, unless samples rounded to whole numbers made one of their steps another.
        let second = decode(&encode(&source, &options).unwrap(), &Options::default()).unwrap();
        for (one, other) in planes.planes.iter().zip(&second.planes) {
            let same = one.rows().flatten().zip(other.rows().flatten()).filter(|(a, b)| a == b).count();
            assert!(100 * same > 99 * one.width * one.height, "{sampling:?}: {same} the same");
        }
    }
}

#[test]
fn a_lower_quality_is_a_smaller_and_a_worse_file() {
    let pixels = picture();
    let (mut before, mut error_before) = (0, f64::MAX);
    for quality in [1, 10, 30, 50, 70, 85, 95, 100] {
        let options = EncodeOptions { quality, sampling: Sampling::S444, ..EncodeOptions::default() };
        let file = encode(&rgb(&pixels, WIDTH, HEIGHT), &options).unwrap();
        let decoded = decode(&file, &Options::default()).unwrap().to_interleaved().unwrap();
        let squares =
            decoded.samples.iter().zip(&pixels).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        let error = squares.sum::<f64>() / pixels.len() as f64;
        assert!(file.len() > before && error < error_before, "quality {quality}");
        (before, error_before) = (file.len(), error);
    }
    // A peak signal-to-noise ratio of 46 dB.
    assert!(error_before < 1.7, "mean square error of {error_before}");
}

#[test]
fn a_stride_is_passed_over() {
    let mut random = Random(7);
    let (width, height, stride) = (21, 10, 100);
    let padded = random.samples(stride * height);
    let tight: Vec<u8> = padded.chunks(stride).flat_map(|row| &row[..3 * width]).copied().collect();
    let options = EncodeOptions::default();
    let view = RgbView { width, height, stride, samples: &padded[..stride * (height - 1) + 3 * width] };
    assert_eq!(encode(&Source::Rgb(view), &options), encode(&rgb(&tight, width, height), &options));
}

#[test]
fn a_profile_is_in_the_file() {
    let profile = vec![7; 70_000];
    let options = EncodeOptions { icc_profile: Some(&profile), ..EncodeOptions::default() };
    let file = encode(&rgb(&[1, 2, 3], 1, 1), &options).unwrap();
    assert_eq!(Header::read(&file).unwrap().icc_profile(), Some(profile));
    let empty = EncodeOptions { icc_profile: Some(&[]), ..EncodeOptions::default() };
    assert_eq!(encode(&rgb(&[1, 2, 3], 1, 1), &empty), Err(EncodeError::IccProfile { bytes: 0 }));
}

#[test]
fn impossible_calls_are_errors() {
    let options = EncodeOptions::default();
    let samples = [0; 300];
    for quality in [0, 101, 255] {
        let found = encode(&rgb(&samples, 2, 2), &EncodeOptions { quality, ..options });
        assert_eq!(found, Err(EncodeError::Quality(quality)));
    }
    for (width, height) in [(0, 1), (1, 0), (65_536, 1), (usize::MAX, 2)] {
        let view = RgbView { width, height, stride: usize::MAX, samples: &samples };
        assert_eq!(encode(&Source::Rgb(view), &options), Err(EncodeError::Size { width, height }));
    }
    let found = encode(&rgb(&samples, 10, 11), &options);
    assert_eq!(found, Err(EncodeError::Samples { plane: 0, found: 300, needed: 330 }));
    let luma = plane(&samples, 10, 10);
    let found = encode(&Source::YCbCr([luma; 3]), &options);
    assert_eq!(found, Err(EncodeError::PlaneSize { plane: 1, found: (10, 10), expected: (5, 5) }));
}

#[test]
fn the_longest_sides_are_encoded() {
    for (width, height) in [(65_535, 1), (1, 65_535)] {
        let samples = vec![5; 3 * 65_535];
        for sampling in Sampling::ALL {
            let options = EncodeOptions { sampling, ..EncodeOptions::default() };
            let file = encode(&rgb(&samples, width, height), &options).unwrap();
            let decoded = decode(&file, &Options::default()).unwrap();
            assert_eq!((decoded.width, decoded.height), (width, height));
        }
    }
    let most = encode_memory_bytes(65_535, 65_535, Some(Sampling::S420));
    assert_eq!(encode_memory_bytes(usize::MAX, usize::MAX, Some(Sampling::S420)), most);
}

#[test]
fn an_interrupt_stops_the_encoder() {
    let asked = std::cell::Cell::new(0);
    let samples = vec![0; 3 * 16 * 64];
    for stop in 1..=9 {
        asked.set(0);
        let interrupt = || {
            asked.set(asked.get() + 1);
            asked.get() == stop
        };
        let options =
            EncodeOptions { interrupt: Some(&interrupt), sampling: Sampling::S444, ..Default::default() };
        // Eight rows of MCUs, and one chunk of what they became.
        assert_eq!(encode(&rgb(&samples, 16, 64), &options), Err(EncodeError::Interrupted));
        assert_eq!(asked.get(), stop);
    }
}
