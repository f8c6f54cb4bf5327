//! From the planes of a video frame to RGB (ITU-T H.273, section 8.3).

use re_rav1d::dav1d::{Picture as Frame, PixelLayout, PlanarImageComponent};

use super::boxes::damaged;
use super::container::Cicp;
use crate::Error;

/// How numbers become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Conversion {
    /// The planes are green, blue, red.
    Identity,
    /// Luma with the weights of red and blue.
    Weights { red: f32, blue: f32 },
    /// Luma, green and orange differences.
    YCgCo,
}

impl Conversion {
    /// By the number of ITU-T H.273, table 4; BT.601 where it says nothing, as JPEG does.
    fn of(matrix: u16) -> Result<Self, Error> {
        let weights = |red, blue| Ok(Self::Weights { red, blue });
        match matrix {
            0 => Ok(Self::Identity),
            1 => weights(0.2126, 0.0722),
            4 => weights(0.30, 0.11),
            2 | 5 | 6 => weights(0.299, 0.114),
            7 => weights(0.212, 0.087),
            8 => Ok(Self::YCgCo),
            9 => weights(0.2627, 0.0593),
            other => Err(Error::unsupported(format!("AVIF with the colour matrix {other}"))),
        }
    }

    /// Red, green and blue of luma 0 to 1 and differences of -0.5 to 0.5.
    fn rgb(self, y: f32, u: f32, v: f32) -> [f32; 3] {
        match self {
            Self::Identity => [v + 0.5, y, u + 0.5],
            Self::Weights { red, blue } => {
                let (r, b) = (y + 2.0 * (1.0 - red) * v, y + 2.0 * (1.0 - blue) * u);
                [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
            }
            Self::YCgCo => {
                let rest = y - u;
                [rest + v, y + u, rest - v]
            }
        }
    }
}

/// A plane whose samples are read as fractions.
struct Plane {
    bytes: re_rav1d::dav1d::Plane,
    stride: usize,
    deep: bool,
    scale: f32,
    offset: f32,
}

impl Plane {
    fn new(frame: &Frame, component: PlanarImageComponent, full_range: bool, centred: bool) -> Self {
        let depth = frame.bit_depth();
        let step = (1_u32 << (depth - 8)) as f32;
        let (black, range) = match (full_range, centred) {
            (true, false) => (0.0, ((1_u32 << depth) - 1) as f32),
            (true, true) => (128.0 * step, ((1_u32 << depth) - 1) as f32),
            (false, false) => (16.0 * step, 219.0 * step),
            (false, true) => (128.0 * step, 224.0 * step),
        };
        Self {
            bytes: frame.plane(component),
            stride: frame.stride(component) as usize,
            deep: depth > 8,
            scale: 1.0 / range,
            offset: black,
        }
    }

    /// A row as fractions, widened to `width` if it has half as many samples.
    fn row(&self, y: usize, width: usize, halved: bool, row: &mut Vec<f32>) {
        let line = &self.bytes[y * self.stride..];
        let samples = if halved { width.div_ceil(2) } else { width };
        let fraction = |n: usize| {
            let value = if self.deep {
                u16::from_le_bytes([line[2 * n], line[2 * n + 1]])
            } else {
                u16::from(line[n])
            };
            (f32::from(value) - self.offset) * self.scale
        };
        row.clear();
        if !halved {
            row.extend((0..samples).map(fraction));
            return;
        }
        // Samples lie between two pixels: each pixel takes three quarters of the nearer one.
        for x in 0..width {
            let near = x / 2;
            let far = if x % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(samples - 1) };
            row.push(0.75 * fraction(near) + 0.25 * fraction(far));
        }
    }
}

fn byte(value: f32) -> u8 {
    (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8
}

/// The luma plane alone, as 8 bits: a grey picture, or transparency.
pub(super) fn luma(frame: &Frame, cicp: Cicp) -> Vec<u8> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let plane = Plane::new(frame, PlanarImageComponent::Y, cicp.full_range, false);
    let mut pixels = Vec::with_capacity(width * height);
    let mut row = Vec::with_capacity(width);
    for y in 0..height {
        plane.row(y, width, false, &mut row);
        pixels.extend(row.iter().map(|&value| byte(value)));
    }
    pixels
}

/// Whether the frame has luma alone.
pub(super) fn is_grey(frame: &Frame) -> bool {
    frame.pixel_layout() == PixelLayout::I400
}

/// The frame in RGB, three bytes a pixel.
pub(super) fn rgb(frame: &Frame, cicp: Cicp) -> Result<Vec<u8>, Error> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let conversion = Conversion::of(cicp.matrix)?;
    let full = cicp.full_range;
    let layout = frame.pixel_layout();
    let halved_across = matches!(layout, PixelLayout::I420 | PixelLayout::I422);
    let halved_down = layout == PixelLayout::I420;
    if conversion == Conversion::Identity && layout != PixelLayout::I444 {
        return Err(damaged("its planes are colours but not all of one size"));
    }
    // The planes of identity are all like luma: blue and red are brought to where they are centred.
    let luma = Plane::new(frame, PlanarImageComponent::Y, full, false);
    let centred = conversion != Conversion::Identity;
    let [first, second] = [PlanarImageComponent::U, PlanarImageComponent::V]
        .map(|component| Plane::new(frame, component, full, centred));
    let shift = if centred { 0.0 } else { -0.5 };
    let chroma_rows = if halved_down { height.div_ceil(2) } else { height };
    let mut pixels = Vec::with_capacity(width * height * 3);
    let mut rows: [Vec<f32>; 5] = std::array::from_fn(|_| Vec::with_capacity(width));
    for y in 0..height {
        let [light, u_near, v_near, u_far, v_far] = &mut rows;
        luma.row(y, width, false, light);
        let near = if halved_down { y / 2 } else { y };
        let far = match (halved_down, y % 2) {
            (false, _) => near,
            (true, 0) => near.saturating_sub(1),
            (true, _) => (near + 1).min(chroma_rows - 1),
        };
        first.row(near, width, halved_across, u_near);
        second.row(near, width, halved_across, v_near);
        first.row(far, width, halved_across, u_far);
        second.row(far, width, halved_across, v_far);
        for x in 0..width {
            let u = 0.75 * u_near[x] + 0.25 * u_far[x] + shift;
            let v = 0.75 * v_near[x] + 0.25 * v_far[x] + shift;
            pixels.extend(conversion.rgb(light[x], u, v).map(byte));
        }
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_grey_in_every_conversion() {
        for conversion in [Conversion::Weights { red: 0.299, blue: 0.114 }, Conversion::YCgCo] {
            assert_eq!(conversion.rgb(0.5, 0.0, 0.0).map(byte), [128; 3], "{conversion:?}");
        }
        assert_eq!(Conversion::Identity.rgb(0.5, 0.0, 0.0).map(byte), [128; 3]);
    }

    #[test]
    fn pure_red_of_bt601_comes_out_red() {
        let conversion = Conversion::Weights { red: 0.299, blue: 0.114 };
        let rgb = conversion.rgb(0.299, -0.299 / 1.772, 0.5);
        assert_eq!(rgb.map(byte), [255, 0, 0]);
    }
}
