//! Pictures of text, drawn here: anti-aliased strokes of one colour, the same on every machine and
//! from no font.

use anyhow::Result;

/// Width and height of a picture.
pub const SIDE_PX: u32 = 600;

/// Ink and paper.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    ink: [u8; 3],
    /// Whether there is white behind it; else nothing is.
    paper: bool,
}

/// Height of a letter in pixels: of a title, a heading, a paragraph.
const HEIGHTS: [f32; 3] = [110.0, 56.0, 26.0];

impl Text {
    pub const BLACK_ON_NOTHING: Self = Self { ink: [0; 3], paper: false };
    pub const BLACK_ON_WHITE: Self = Self { ink: [0; 3], paper: true };
    pub const BLUE_ON_NOTHING: Self = Self { ink: [20, 60, 140], paper: false };
    pub const BLUE_ON_WHITE: Self = Self { ink: [20, 60, 140], paper: true };

    /// The pictures as PNG files.
    pub fn files(self) -> Result<Vec<Vec<u8>>> {
        HEIGHTS.iter().map(|&height| self.png(&coverage(height))).collect()
    }

    /// The pictures as RGB, on white where nothing is.
    pub fn pictures(self) -> Vec<Vec<u8>> {
        let flat = |coverage: Vec<u8>| coverage.into_iter().flat_map(|c| self.on_white(c)).collect();
        HEIGHTS.iter().map(|&height| flat(coverage(height))).collect()
    }

    fn png(self, coverage: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, SIDE_PX, SIDE_PX);
        encoder.set_color(if self.paper { png::ColorType::Rgb } else { png::ColorType::Rgba });
        let [r, g, b] = self.ink;
        let pixels: Vec<u8> = if self.paper {
            coverage.iter().flat_map(|&coverage| self.on_white(coverage)).collect()
        } else {
            coverage.iter().flat_map(|&coverage| [r, g, b, coverage]).collect()
        };
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    fn on_white(self, coverage: u8) -> [u8; 3] {
        let part = u16::from(coverage);
        self.ink.map(|ink| ((u16::from(ink) * part + 255 * (255 - part) + 127) / 255) as u8)
    }
}

/// A stroke of a letter, on a grid four wide and six high.
#[derive(Debug, Clone, Copy)]
enum Stroke {
    Line([f32; 4]),
    /// Part of an ellipse: centre, radii, first and last angle in eighths of a turn, clockwise from the
    /// right.
    Arc([f32; 6]),
}

use Stroke::{Arc, Line};

const LETTERS: &[(char, &[Stroke])] = &[
    ('A', &[Line([0.0, 6.0, 2.0, 0.0]), Line([2.0, 0.0, 4.0, 6.0]), Line([0.7, 4.0, 3.3, 4.0])]),
    ('C', &[Arc([2.2, 3.0, 2.2, 3.0, 1.0, 7.0])]),
    ('D', &[Line([0.0, 0.0, 0.0, 6.0]), Arc([0.0, 3.0, 4.0, 3.0, -2.0, 2.0])]),
    (
        'E',
        &[
            Line([0.0, 0.0, 0.0, 6.0]),
            Line([0.0, 0.0, 3.6, 0.0]),
            Line([0.0, 3.0, 3.0, 3.0]),
            Line([0.0, 6.0, 3.6, 6.0]),
        ],
    ),
    ('H', &[Line([0.0, 0.0, 0.0, 6.0]), Line([4.0, 0.0, 4.0, 6.0]), Line([0.0, 3.0, 4.0, 3.0])]),
    ('I', &[Line([2.0, 0.0, 2.0, 6.0])]),
    ('K', &[Line([0.0, 0.0, 0.0, 6.0]), Line([3.8, 0.0, 0.0, 3.4]), Line([1.3, 2.3, 4.0, 6.0])]),
    ('L', &[Line([0.0, 0.0, 0.0, 6.0]), Line([0.0, 6.0, 3.5, 6.0])]),
    ('N', &[Line([0.0, 6.0, 0.0, 0.0]), Line([0.0, 0.0, 4.0, 6.0]), Line([4.0, 6.0, 4.0, 0.0])]),
    ('O', &[Arc([2.0, 3.0, 2.0, 3.0, 0.0, 8.0])]),
    (
        'P',
        &[
            Line([0.0, 0.0, 0.0, 6.0]),
            Line([0.0, 0.0, 2.0, 0.0]),
            Line([0.0, 3.2, 2.0, 3.2]),
            Arc([2.0, 1.6, 1.7, 1.6, -2.0, 2.0]),
        ],
    ),
    (
        'R',
        &[
            Line([0.0, 0.0, 0.0, 6.0]),
            Line([0.0, 0.0, 2.0, 0.0]),
            Line([0.0, 3.0, 2.0, 3.0]),
            Arc([2.0, 1.5, 1.7, 1.5, -2.0, 2.0]),
            Line([2.0, 3.0, 4.0, 6.0]),
        ],
    ),
    ('S', &[Arc([2.0, 1.5, 1.8, 1.5, 2.0, 7.5]), Arc([2.0, 4.5, 1.8, 1.5, -2.0, 3.5])]),
    ('T', &[Line([0.0, 0.0, 4.0, 0.0]), Line([2.0, 0.0, 2.0, 6.0])]),
    ('U', &[Line([0.0, 0.0, 0.0, 4.0]), Arc([2.0, 4.0, 2.0, 2.0, 0.0, 4.0]), Line([4.0, 4.0, 4.0, 0.0])]),
];

/// What is written, over and over until the picture is full. Every letter is one of [`LETTERS`].
const WORDS: &str = "LARDER KEEPS PICTURES AT HAND IN ALL THE SHAPES PEOPLE ASK ";

/// Straight pieces that an arc is drawn as: no corner shows at these sizes.
const PIECES: u16 = 24;

/// How much of each pixel the strokes cover, for letters of this height.
fn coverage(height: f32) -> Vec<u8> {
    let mut canvas = vec![0; (SIDE_PX * SIDE_PX) as usize];
    let unit = height / 6.0;
    let (mut x, mut y) = (unit * 2.0, unit * 2.0);
    for letter in WORDS.chars().cycle() {
        if x + unit * 5.0 > SIDE_PX as f32 {
            (x, y) = (unit * 2.0, y + unit * 9.5);
        }
        if y + unit * 7.0 > SIDE_PX as f32 {
            break;
        }
        let strokes =
            LETTERS.iter().find(|(known, _)| *known == letter).map_or(&[][..], |(_, strokes)| strokes);
        let at = |(left, top): (f32, f32)| (x + left * unit, y + top * unit);
        for [from, to] in strokes.iter().flat_map(|stroke| stroke.pieces()) {
            draw(&mut canvas, at(from), at(to), unit * 0.42);
        }
        x += unit * 5.7;
    }
    canvas
}

impl Stroke {
    fn pieces(self) -> Vec<[(f32, f32); 2]> {
        match self {
            Line([x0, y0, x1, y1]) => vec![[(x0, y0), (x1, y1)]],
            Arc([x, y, width, height, first, last]) => {
                let point = |n: u16| {
                    let eighths = first + (last - first) * f32::from(n) / f32::from(PIECES);
                    let (sin, cos) = (eighths * std::f32::consts::FRAC_PI_4).sin_cos();
                    (x + width * cos, y + height * sin)
                };
                (0..PIECES).map(|n| [point(n), point(n + 1)]).collect()
            }
        }
    }
}

/// A line with round ends; where strokes meet, the one that covers more counts.
fn draw(canvas: &mut [u8], from: (f32, f32), to: (f32, f32), radius: f32) {
    let reach = radius + 1.0;
    let range = |a: f32, b: f32| {
        let first = (a.min(b) - reach).floor().clamp(0.0, SIDE_PX as f32) as u32;
        first..(a.max(b) + reach).ceil().clamp(0.0, SIDE_PX as f32) as u32
    };
    for y in range(from.1, to.1) {
        for x in range(from.0, to.0) {
            let distance = distance((x as f32 + 0.5, y as f32 + 0.5), from, to);
            let covered = ((radius + 0.5 - distance).clamp(0.0, 1.0) * 255.0) as u8;
            let pixel = &mut canvas[(y * SIDE_PX + x) as usize];
            *pixel = covered.max(*pixel);
        }
    }
}

/// From a point to the nearest one of a line.
fn distance(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / (dx * dx + dy * dy).max(f32::EPSILON);
    let along = along.clamp(0.0, 1.0);
    (point.0 - from.0 - along * dx).hypot(point.1 - from.1 - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_image::{ImageLimits, inspect};

    #[test]
    fn every_letter_of_the_words_is_known() {
        let unknown = WORDS.chars().find(|&c| c != ' ' && LETTERS.iter().all(|(known, _)| *known != c));
        assert_eq!(unknown, None);
    }

    #[test]
    fn a_text_has_smooth_edges_and_mostly_paper() {
        for height in HEIGHTS {
            let coverage = coverage(height);
            let share = |wanted: fn(u8) -> bool| {
                coverage.iter().filter(|&&c| wanted(c)).count() as f64 / coverage.len() as f64
            };
            assert!(share(|c| c == 0) > 0.5 && share(|c| c == 255) > 0.04, "{height}");
            assert!(share(|c| c != 0 && c != 255) > 0.02, "{height}");
        }
    }

    #[test]
    fn files_have_the_colours_that_are_asked_for() {
        let alpha = |text: Text| {
            let file = text.files().unwrap().remove(0);
            inspect(&file, &ImageLimits::default()).unwrap().has_alpha
        };
        assert!(alpha(Text::BLUE_ON_NOTHING) && !alpha(Text::BLUE_ON_WHITE));
        assert_eq!(Text::BLUE_ON_NOTHING.on_white(255), [20, 60, 140]);
        assert_eq!(Text::BLUE_ON_NOTHING.on_white(0), [255; 3]);
    }
}
