//! Files of every process, sampling and order of scans, written here: they decode to what was written.

mod writer;

use larder_jpeg::{Options, Planes, Scale, decode};
use writer::{Form, Picture, STEP};

const SAMPLINGS: &[&[(usize, usize)]] = &[
    &[(1, 1)],
    &[(2, 2)],
    &[(1, 1), (1, 1)],
    &[(1, 1), (1, 1), (1, 1)],
    &[(2, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(4, 1), (1, 1), (1, 1)],
    &[(2, 2), (2, 1), (1, 2)],
    &[(1, 1), (2, 2), (1, 1)],
    &[(3, 1), (1, 1), (2, 1)],
    &[(4, 4), (1, 2), (2, 4)],
    &[(1, 1), (1, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1), (2, 2)],
];

const SIZES: &[(usize, usize)] = &[(1, 1), (8, 9), (35, 17), (70, 66)];

fn decoded(bytes: &[u8], scale: Scale) -> Planes {
    decode(bytes, &Options { scale, ..Options::default() }).unwrap_or_else(|error| panic!("{error}"))
}

fn forms() -> impl Iterator<Item = Form> {
    (0..24).map(|bits| Form {
        progressive: bits & 1 != 0,
        interleaved: bits & 2 != 0,
        long_codes: bits & 4 != 0,
        restart_interval: [0, 1, 5][bits >> 3],
    })
}

#[test]
fn every_process_and_order_of_scans_gives_the_same_planes() {
    for sampling in SAMPLINGS {
        for &(width, height) in SIZES {
            let picture = Picture::random(width, height, sampling, 0xA5A5_1234 + width as u64);
            for scale in Scale::ALL {
                let mut first = None;
                for form in forms() {
                    let planes = decoded(&picture.write(form), scale);
                    assert_eq!((planes.width, planes.height), (scale.of(width), scale.of(height)));
                    let first = first.get_or_insert_with(|| planes.clone());
                    for (one, other) in first.planes.iter().zip(&planes.planes) {
                        assert!(
                            one.rows().eq(other.rows()),
                            "{sampling:?} {width}x{height} {scale:?} {form:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn samples_are_those_of_the_transform_in_real_numbers() {
    let picture = Picture::random(70, 66, &[(2, 2), (1, 1), (1, 2)], 77);
    let form = Form { progressive: false, interleaved: true, restart_interval: 0, long_codes: false };
    let planes = decoded(&picture.write(form), Scale::Full);
    for (component, plane) in planes.planes.iter().enumerate() {
        for (y, row) in plane.rows().enumerate() {
            for (x, &sample) in row.iter().enumerate() {
                let expected = inverse(picture.block(component, x / 8, y / 8), x % 8, y % 8);
                assert!(
                    (expected - f64::from(sample)).abs() <= 1.0,
                    "{component} {x} {y}: {expected} {sample}"
                );
            }
        }
    }
}

#[test]
fn a_sample_at_an_eighth_is_the_mean_of_its_block() {
    let picture = Picture::random(70, 66, &[(2, 1), (1, 1), (1, 1)], 99);
    let form = Form { progressive: true, interleaved: true, restart_interval: 2, long_codes: true };
    let planes = decoded(&picture.write(form), Scale::Eighth);
    for (component, plane) in planes.planes.iter().enumerate() {
        for (y, row) in plane.rows().enumerate() {
            for (x, &sample) in row.iter().enumerate() {
                let mean = f64::from(picture.block(component, x, y)[0] * STEP(0)) / 8.0 + 128.0;
                assert!((mean.clamp(0.0, 255.0) - f64::from(sample)).abs() <= 0.5);
            }
        }
    }
}

/// A sample of a block by the definition (T.81, section A.3.3).
fn inverse(block: &[i16; 64], x: usize, y: usize) -> f64 {
    let mut sum = 0.0;
    for (place, &value) in block.iter().enumerate().filter(|(_, value)| **value != 0) {
        let (u, v) = frequency(place);
        let scale = |f: usize| if f == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let wave = |position: usize, f: usize| {
            ((2 * position + 1) as f64 * f as f64 * std::f64::consts::PI / 16.0).cos()
        };
        sum += f64::from(value * STEP(place)) * scale(u) * scale(v) * wave(x, u) * wave(y, v) / 4.0;
    }
    (sum + 128.0).clamp(0.0, 255.0)
}

/// Column and row of a place in zig-zag order.
fn frequency(place: usize) -> (usize, usize) {
    let mut walk: Vec<_> = (0..64_usize).map(|index| (index % 8, index / 8)).collect();
    walk.sort_by_key(|&(x, y)| (x + y, if (x + y).is_multiple_of(2) { x } else { y }));
    walk[place]
}
