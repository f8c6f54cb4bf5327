//! What is cut, damaged or too much is refused, and nothing panics.

mod writer;

use std::cell::Cell;

use larder_jpeg::{Error, Header, Limits, Options, Scale, decode};
use writer::{Form, Picture, Random};

const FORMS: [Form; 3] = [
    Form { progressive: false, interleaved: true, restart_interval: 0, long_codes: false },
    Form { progressive: false, interleaved: false, restart_interval: 3, long_codes: true },
    Form { progressive: true, interleaved: true, restart_interval: 4, long_codes: false },
];

fn picture() -> Picture {
    Picture::random(60, 50, &[(2, 2), (1, 1), (1, 1)], 4711)
}

fn at(scale: Scale) -> Options<'static> {
    Options { scale, ..Options::default() }
}

fn with(limits: Limits) -> Options<'static> {
    Options { limits, ..Options::default() }
}

#[test]
fn a_cut_file_is_truncated_wherever_it_was_cut() {
    for form in FORMS {
        let file = picture().write(form);
        for scale in Scale::ALL {
            for end in 2..file.len() {
                let error = decode(&file[..end], &at(scale)).unwrap_err();
                assert!(matches!(error, Error::Truncated(_)), "{form:?} {scale:?} cut at {end}: {error}");
            }
        }
    }
}

#[test]
fn a_cut_file_with_an_end_mark_put_on_is_refused() {
    for form in FORMS.into_iter().filter(|form| !form.progressive) {
        let file = picture().write(form);
        let start = Header::read(&file).unwrap().first_scan_offset;
        for fortieth in 1..40 {
            let end = start + 12 + (file.len() - start - 12) * fortieth / 40;
            let cut = [&file[..end], &[0xFF, 0xD9]].concat();
            for scale in Scale::ALL {
                assert!(decode(&cut, &at(scale)).is_err(), "{form:?} {scale:?} cut at {end}");
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut random = Random(0x0123_4567_89AB_CDEF);
    for form in FORMS {
        let file = picture().write(form);
        for _ in 0..1_500 {
            let mut damaged = file.clone();
            for _ in 0..1 + random.next() % 6 {
                let at = random.next() as usize % damaged.len();
                damaged[at] ^= 1 << (random.next() % 8);
            }
            let limits = Limits { max_pixels: 1 << 20, ..Limits::default() };
            for scale in Scale::ALL {
                if let Ok(planes) = decode(&damaged, &Options { scale, ..with(limits) }) {
                    planes.to_interleaved();
                }
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_mark_are_of_no_interest() {
    let file = picture().write(FORMS[0]);
    let longer = [&file[..], b"another picture, or a film"].concat();
    assert_eq!(decode(&longer, &at(Scale::Full)), decode(&file, &at(Scale::Full)));
}

#[test]
fn an_error_says_where_the_data_ends() {
    let file = picture().write(FORMS[1]);
    let Err(Error::Truncated(location)) = decode(&file[..file.len() - 10], &at(Scale::Full)) else {
        panic!("not truncated")
    };
    assert_eq!(location.scan, Some(2));
    assert_eq!(location.mcu_row, Some(3));
    assert!((file.len() - 40..file.len()).contains(&location.offset), "{location} of {}", file.len());
}

#[test]
fn limits_are_refusals_with_both_numbers() {
    let file = picture().write(FORMS[2]);
    let memory = Header::read(&file).unwrap().memory_bytes(Scale::Full);
    let cases = [
        (Limits { max_pixels: 2_999, ..Limits::default() }, "max_pixels", 3_000, 2_999),
        (Limits { max_scans: 4, ..Limits::default() }, "max_scans", 5, 4),
        (
            Limits { max_memory_bytes: memory - 1, ..Limits::default() },
            "max_memory_bytes",
            memory,
            memory - 1,
        ),
    ];
    for (limits, what, found, limit) in cases {
        assert_eq!(decode(&file, &with(limits)), Err(Error::LimitExceeded { what, found, limit }));
    }
    let limits = Limits { max_block_visits: 100, ..Limits::default() };
    let error = decode(&file, &with(limits)).unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { what: "max_block_visits", .. }), "{error}");
    let limits = Limits { max_memory_bytes: memory, max_pixels: 3_000, ..Limits::default() };
    assert!(decode(&file, &with(limits)).is_ok());
}

#[test]
fn an_interrupt_is_asked_for_each_row_and_obeyed() {
    let file = picture().write(FORMS[0]);
    let asked = Cell::new(0);
    let interrupt = || {
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    let options = Options { interrupt: Some(&interrupt), ..Options::default() };
    let Err(Error::Interrupted(location)) = decode(&file, &options) else { panic!("not interrupted") };
    assert_eq!((location.mcu_row, asked.get()), (Some(2), 3));
}

/// Components of a scan, and its band and bits.
type Scan<'a> = (&'a [usize], (u8, u8, u8, u8));

#[test]
fn scans_that_do_not_follow_from_one_another_are_refused() {
    let picture = picture();
    let form = FORMS[2];
    let whole = picture.write(form);
    let start = Header::read(&whole).unwrap().first_scan_offset - 4;
    let all: &[usize] = &[0, 1, 2];
    let orders: [&[Scan]; 5] = [
        &[(&[0], (1, 63, 0, 0))],
        &[(all, (0, 0, 0, 0)), (all, (0, 0, 0, 0))],
        &[(all, (0, 0, 0, 2)), (all, (0, 0, 1, 0))],
        &[(all, (0, 0, 0, 0)), (&[0], (1, 5, 0, 1)), (&[0], (1, 6, 1, 0))],
        &[(&[0], (0, 0, 0, 0)), (&[1], (0, 0, 0, 0))],
    ];
    for order in orders {
        let mut file = whole[..start].to_vec();
        for &(group, scan) in order {
            picture.write_scan(&mut file, group, scan, form);
        }
        file.extend([0xFF, 0xD9]);
        for scale in Scale::ALL {
            let error = decode(&file, &at(scale)).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{order:?}: {error}");
        }
    }
}

#[test]
fn a_component_without_a_scan_or_with_two_is_refused() {
    let picture = picture();
    let form = FORMS[1];
    let whole = picture.write(form);
    let start = Header::read(&whole).unwrap().first_scan_offset - 4;
    for components in [&[0_usize, 1][..], &[0, 1, 2, 1]] {
        let mut file = whole[..start].to_vec();
        for component in components.chunks(1) {
            picture.write_scan(&mut file, component, (0, 63, 0, 0), form);
        }
        file.extend([0xFF, 0xD9]);
        assert!(matches!(decode(&file, &at(Scale::Full)), Err(Error::Corrupt { .. })));
    }
}

/// The progressive file of a picture up to its scans.
fn before_the_scans(picture: &Picture, form: Form) -> Vec<u8> {
    let whole = picture.write(form);
    let start = Header::read(&whole).unwrap().first_scan_offset - 4;
    whole[..start].to_vec()
}

/// Scans that send all coefficients of three components, in two steps of each kind.
const PROGRESSION: [Scan; 15] = [
    (&[0, 1, 2], (0, 0, 0, 1)),
    (&[0], (1, 5, 0, 2)),
    (&[1], (1, 63, 0, 1)),
    (&[2], (1, 63, 0, 1)),
    (&[0], (6, 63, 0, 2)),
    (&[0], (1, 63, 2, 1)),
    (&[0, 1, 2], (0, 0, 1, 0)),
    (&[1], (1, 5, 1, 0)),
    (&[1], (6, 9, 1, 0)),
    (&[1], (10, 62, 1, 0)),
    (&[1], (63, 63, 1, 0)),
    (&[2], (1, 63, 1, 0)),
    (&[0], (1, 5, 1, 0)),
    (&[0], (6, 50, 1, 0)),
    (&[0], (51, 63, 1, 0)),
];

#[test]
fn a_progression_that_does_not_end_is_refused() {
    let picture = picture();
    let form = FORMS[2];
    let start = before_the_scans(&picture, form);
    let file = |left_out: Option<usize>| {
        let mut file = start.clone();
        for (number, &(group, scan)) in PROGRESSION.iter().enumerate() {
            if left_out != Some(number) {
                picture.write_scan(&mut file, group, scan, form);
            }
        }
        file.extend([0xFF, 0xD9]);
        file
    };
    let whole = file(None);
    for scale in Scale::ALL {
        assert_eq!(decode(&whole, &at(scale)), decode(&picture.write(form), &at(scale)));
        for number in 0..PROGRESSION.len() {
            let file = file(Some(number));
            let error = decode(&file, &at(scale)).unwrap_err();
            let Error::Corrupt { what, at } = error else { panic!("without scan {number}: {error}") };
            // Each of the last nine ends the progression of some coefficients.
            if number >= 6 {
                assert_eq!(what, "the file ends before the last scan of a progression", "{number} {scale:?}");
                assert_eq!(at.offset, file.len());
            }
        }
    }
}

#[test]
fn a_scan_whose_marker_is_damaged_is_missed() {
    let file = picture().write(FORMS[2]);
    let markers = (0..file.len() - 1).filter(|&at| file[at..].starts_with(&[0xFF, 0xDA]));
    let mut count = 0;
    for place in markers.flat_map(|at| [at, at + 1]) {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[place] ^= 1 << bit;
            for scale in Scale::ALL {
                assert!(decode(&damaged, &at(scale)).is_err(), "bit {bit} of byte {place} at {scale:?}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 14 * 16, "scans, and bits of their markers");
}

#[test]
fn a_scan_without_its_huffman_table_is_refused_at_every_scale() {
    for form in FORMS {
        let file = picture().write(form);
        let table = (0..file.len()).find(|&at| file[at..].starts_with(&[0xFF, 0xC4]) && file[at + 4] == 0x10);
        let mut damaged = file.clone();
        damaged[table.unwrap() + 4] = 0x11;
        for scale in Scale::ALL {
            let error = decode(&damaged, &at(scale)).unwrap_err();
            assert!(
                matches!(error, Error::Corrupt { what: "a Huffman table is missing", .. }),
                "{form:?} {scale:?}: {error}"
            );
        }
    }
}

#[test]
fn what_follows_soi_is_a_marker_and_no_reserved_one() {
    let file = picture().write(FORMS[0]);
    let refused = |at: usize, value: u8| {
        let mut damaged = file.clone();
        damaged[at] = value;
        match decode(&damaged, &Options::default()) {
            Err(Error::Corrupt { what, at }) if at.offset <= 4 => Some(what),
            _ => None,
        }
    };
    for value in 0..0xFF {
        assert_eq!(refused(2, value), Some("no marker follows SOI"));
    }
    for marker in (0x02..=0xBF).chain([0xC8]).chain(0xF0..=0xFD) {
        assert_eq!(refused(3, marker), Some("a reserved marker"), "{marker:02x}");
    }
}

/// A picture of one component of 24x16 pixels, with one coefficient other than zero in its fifth block.
fn with_one(place: usize, value: i16) -> Picture {
    let mut picture = Picture::random(24, 16, &[(1, 1)], 1);
    picture.components[0].blocks.fill([0; 64]);
    picture.components[0].blocks[4][place] = value;
    picture
}

#[test]
fn coefficients_larger_than_those_of_8_bit_samples_are_refused() {
    // The largest that are taken, and what is said of the next.
    let dc = (0, 4_091 / writer::STEP(0), "a DC coefficient is larger than 8-bit samples make it");
    let ac = (20, 1_023, "a coefficient has more bits than 8-bit samples give it");
    for form in FORMS.into_iter().map(|form| Form { interleaved: false, ..form }) {
        for scale in Scale::ALL {
            for (place, largest, expected) in [dc, ac] {
                for (value, is_taken) in
                    [(largest, true), (largest + 1, false), (-largest, true), (-largest - 1, false)]
                {
                    let decoded = decode(&with_one(place, value).write(form), &at(scale));
                    // The data of AC scans is passed over there.
                    if is_taken || (place > 0 && form.progressive && scale == Scale::Eighth) {
                        assert!(decoded.is_ok(), "{value} at {place}, {form:?} {scale:?}: {decoded:?}");
                        continue;
                    }
                    let Err(Error::Corrupt { what, at }) = decoded else {
                        panic!("{value} at {place}, {form:?} {scale:?}")
                    };
                    assert_eq!(what, expected, "{value} at {place}, {form:?} {scale:?}");
                    if !(form.progressive && place == 0) {
                        assert_eq!(at.mcu_row, Some(1), "{value} at {place}, {form:?} {scale:?}");
                    }
                }
            }
        }
    }
}
