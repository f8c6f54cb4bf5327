//! libwebp behind functions that are safe to call. Apart from vector instructions, every
//! `unsafe` of this crate is in this file.

#![expect(unsafe_code, reason = "libwebp is a C library; each call states why it is sound")]

use std::ffi::{c_int, c_void};
use std::ptr;

use libwebp_sys as sys;

use crate::formats::{Coding, Format};
use crate::picture::{Channels, Picture};
use crate::planar::Planar;
use crate::recipe::{Effort, Quality};
use crate::{Deadline, Error};

/// How much of a file the decoder gets between two looks at the clock.
const STRIDE_BYTES: usize = 32_768;

fn damaged(reason: &str) -> Error {
    Error::undecodable(Format::Webp, reason)
}

/// What the header of a still picture's bitstream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    pub width: u32,
    pub height: u32,
    pub has_alpha: bool,
    pub animated: bool,
    /// Whether it is coded without loss, as far as that is known from the header.
    pub lossless: bool,
}

/// Reads a header; `Ok(None)` if it needs more bytes.
pub(super) fn features(data: &[u8]) -> Result<Option<Features>, Error> {
    let mut found = sys::WebPBitstreamFeatures {
        width: 0,
        height: 0,
        has_alpha: 0,
        has_animation: 0,
        format: 0,
        pad: [0; 5],
    };
    // SAFETY: the pointer is valid for `data.len()` bytes of reading, `found` for writing.
    let status = unsafe { sys::WebPGetFeatures(data.as_ptr(), data.len(), &mut found) };
    match status {
        sys::VP8StatusCode::VP8_STATUS_OK => Ok(Some(Features {
            width: found.width.unsigned_abs(),
            height: found.height.unsigned_abs(),
            has_alpha: found.has_alpha != 0,
            animated: found.has_animation != 0,
            lossless: found.format == 2,
        })),
        sys::VP8StatusCode::VP8_STATUS_NOT_ENOUGH_DATA => Ok(None),
        _ => Err(damaged("its header can't be read")),
    }
}

/// An incremental decoder that writes into a buffer which outlives it.
struct Incremental<'a> {
    decoder: *mut sys::WebPIDecoder,
    _pixels: &'a mut [u8],
}

impl Drop for Incremental<'_> {
    fn drop(&mut self) {
        // SAFETY: the decoder came from `WebPINewRGB` and is deleted once.
        unsafe { sys::WebPIDelete(self.decoder) }
    }
}

/// Decodes a still picture or a frame's chunks, whose features are known, piece by piece so that the
/// deadline is met.
pub(super) fn decode(data: &[u8], features: Features, deadline: Deadline) -> Result<Picture, Error> {
    let (channels, mode) = if features.has_alpha {
        (Channels::Rgba, sys::WEBP_CSP_MODE::MODE_RGBA)
    } else {
        (Channels::Rgb, sys::WEBP_CSP_MODE::MODE_RGB)
    };
    let stride = features.width as usize * channels.count();
    let mut pixels = vec![0; stride * features.height as usize];
    {
        let (start, length) = (pixels.as_mut_ptr(), pixels.len());
        // SAFETY: the buffer holds `length` bytes, `height` rows of `stride`, and is borrowed by the
        // decoder's owner for as long as the decoder lives; libwebp checks the size against its own
        // reading of the header before it writes.
        let decoder = unsafe { sys::WebPINewRGB(mode, start, length, stride as c_int) };
        if decoder.is_null() {
            return Err(Error::internal("libwebp has no memory for a decoder"));
        }
        let incremental = Incremental { decoder, _pixels: &mut pixels };
        run(&incremental, data, deadline)?;
    }
    Ok(Picture::new(features.width, features.height, channels, pixels))
}

fn run(incremental: &Incremental<'_>, data: &[u8], deadline: Deadline) -> Result<(), Error> {
    let mut given = 0;
    loop {
        deadline.check()?;
        given = (given + STRIDE_BYTES).min(data.len());
        // SAFETY: the decoder is alive; the same bytes are passed each time, of which the first
        // `given` may be read, and `data` outlives the decoder.
        let status = unsafe { sys::WebPIUpdate(incremental.decoder, data.as_ptr(), given) };
        match status {
            sys::VP8StatusCode::VP8_STATUS_OK => return Ok(()),
            sys::VP8StatusCode::VP8_STATUS_SUSPENDED if given < data.len() => {}
            sys::VP8StatusCode::VP8_STATUS_SUSPENDED => return Err(damaged("it is cut")),
            sys::VP8StatusCode::VP8_STATUS_OUT_OF_MEMORY => {
                return Err(Error::internal("libwebp has no memory to decode"));
            }
            _ => return Err(damaged("its bitstream is damaged")),
        }
    }
}

/// Settings of the encoder. Method 4 is libwebp's own default: one below it costs bytes, one above
/// it time, without gain at equal quality. Of those below, 1 takes the fewest bytes for its quality.
fn config(Coding { quality, effort }: Coding) -> Result<sys::WebPConfig, Error> {
    let mut config = sys::WebPConfig::new().map_err(|()| Error::internal("libwebp of another version"))?;
    config.method = match effort {
        Effort::Normal => 4,
        Effort::Fast => 1,
    };
    match quality {
        Quality::Lossy(value) => config.quality = value.into(),
        Quality::Lossless => {
            config.lossless = 1;
            // Without loss, "quality" is effort.
            config.quality = 75.0;
        }
    }
    Ok(config)
}

/// A picture in libwebp's own memory.
struct Input(sys::WebPPicture);

impl Input {
    fn sized((width, height): (u32, u32)) -> Result<Self, Error> {
        let created = sys::WebPPicture::new().map_err(|()| Error::internal("libwebp of another version"))?;
        let mut input = Self(created);
        let side = |pixels: u32| c_int::try_from(pixels).map_err(|_| Error::internal("WebP beyond its size"));
        (input.0.width, input.0.height) = (side(width)?, side(height)?);
        Ok(input)
    }

    /// Planes of 4:2:0, in the narrower range that WebP has (RFC 6386, section 9.2; ITU-R BT.601).
    fn of_planes(planes: &Planar) -> Result<Self, Error> {
        let mut input = Self::sized(planes.size())?;
        input.0.use_argb = 0;
        // SAFETY: the picture is initialised and its size set.
        if unsafe { sys::WebPPictureAlloc(&mut input.0) } == 0 {
            return Err(Error::internal("libwebp has no memory for the picture"));
        }
        let targets = [
            (input.0.y, input.0.y_stride, input.0.width, input.0.height, &LIGHT),
            (input.0.u, input.0.uv_stride, (input.0.width + 1) / 2, (input.0.height + 1) / 2, &COLOUR),
            (input.0.v, input.0.uv_stride, (input.0.width + 1) / 2, (input.0.height + 1) / 2, &COLOUR),
        ];
        for (plane, (start, stride, width, height, range)) in planes.planes().into_iter().zip(targets) {
            let (stride, width) = (stride as usize, width as usize);
            if (plane.width, plane.height) != (width, height as usize) || stride < width {
                return Err(Error::internal("WebP has planes of another size"));
            }
            for (y, row) in plane.rows().enumerate() {
                // SAFETY: libwebp has allocated `height` rows of `stride` bytes from `start` on, of which
                // this is row `y`; nobody else refers to them.
                let target = unsafe { std::slice::from_raw_parts_mut(start.add(y * stride), width) };
                for (target, &sample) in target.iter_mut().zip(row) {
                    *target = range[usize::from(sample)];
                }
            }
        }
        Ok(input)
    }

    fn new(picture: &Picture, lossless: bool) -> Result<Self, Error> {
        let mut input = Self::sized((picture.width(), picture.height()))?;
        input.0.use_argb = lossless.into();
        let stride = picture.stride() as c_int;
        let pixels = picture.pixels().as_ptr();
        // SAFETY: the picture holds `height` rows of `stride` bytes in the layout that the function
        // is named after; libwebp copies them.
        let imported = unsafe {
            match picture.channels() {
                Channels::Rgb => sys::WebPPictureImportRGB(&mut input.0, pixels, stride),
                Channels::Rgba => sys::WebPPictureImportRGBA(&mut input.0, pixels, stride),
                Channels::Grey => return Err(Error::internal("WebP has no grey")),
            }
        };
        if imported == 0 { Err(Error::internal("libwebp has no memory for the picture")) } else { Ok(input) }
    }
}

/// Light from 0..=255 to 16..=235.
static LIGHT: [u8; 256] = narrowed(219, 0, 16);

/// Colour from 128 ± 128 to 128 ± 112.
static COLOUR: [u8; 256] = narrowed(224, 128, 128);

/// Samples around `from` in a range of `range` levels around `to`, rounded to nearest.
const fn narrowed(range: i32, from: i32, to: i32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut sample = 0;
    while sample < 256 {
        let scaled = 2 * (sample - from) * range + 255;
        table[sample as usize] = (to + scaled.div_euclid(2 * 255)) as u8;
        sample += 1;
    }
    table
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: the picture was initialised by `WebPPicture::new`; freeing an empty one is allowed.
        unsafe { sys::WebPPictureFree(&mut self.0) }
    }
}

/// Collects what the encoder writes.
struct Output(sys::WebPMemoryWriter);

impl Output {
    fn new() -> Self {
        let mut writer = sys::WebPMemoryWriter { mem: ptr::null_mut(), size: 0, max_size: 0, pad: [0] };
        // SAFETY: `writer` is valid for writing.
        unsafe { sys::WebPMemoryWriterInit(&mut writer) };
        Self(writer)
    }

    fn bytes(&self) -> Vec<u8> {
        if self.0.mem.is_null() {
            return Vec::new();
        }
        // SAFETY: libwebp has written `size` bytes at `mem`.
        unsafe { std::slice::from_raw_parts(self.0.mem, self.0.size) }.to_vec()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: the writer was initialised; it frees its own memory.
        unsafe { sys::WebPMemoryWriterClear(&mut self.0) }
    }
}

/// Called by the encoder from time to time; 0 stops it.
unsafe extern "C" fn goes_on(_percent: c_int, picture: *const sys::WebPPicture) -> c_int {
    // SAFETY: libwebp passes the picture being encoded, whose `user_data` points to the deadline on
    // the stack of `run_encoder`, which is still running.
    let deadline = unsafe { &*(*picture).user_data.cast::<Deadline>() };
    (!deadline.expired()).into()
}

/// Encodes a picture of three or four channels.
pub(super) fn encode(picture: &Picture, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    run_encoder(Input::new(picture, coding.quality == Quality::Lossless)?, coding, deadline)
}

/// Encodes a picture in planes.
pub(super) fn encode_planar(planes: &Planar, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    run_encoder(Input::of_planes(planes)?, coding, deadline)
}

fn run_encoder(mut input: Input, coding: Coding, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let config = config(coding)?;
    let mut output = Output::new();
    input.0.writer = Some(sys::WebPMemoryWrite);
    input.0.custom_ptr = (&raw mut output.0).cast::<c_void>();
    input.0.progress_hook = Some(goes_on);
    input.0.user_data = (&raw const deadline).cast_mut().cast::<c_void>();
    // SAFETY: configuration and picture are initialised; writer, hook and what they point to live
    // until the call returns.
    let encoded = unsafe { sys::WebPEncode(&config, &mut input.0) };
    if encoded != 0 {
        return Ok(output.bytes());
    }
    match input.0.error_code {
        sys::WebPEncodingError::VP8_ENC_ERROR_USER_ABORT => Err(Error::TimedOut),
        code => Err(Error::internal(format!("WebP encoder: {code:?}"))),
    }
}

/// Encodes frames one after another.
pub(super) struct Animation {
    encoder: *mut sys::WebPAnimEncoder,
    config: sys::WebPConfig,
    now_ms: c_int,
}

impl Animation {
    /// `loops` 0 = for ever.
    pub fn new((width, height): (u32, u32), loops: u32, coding: Coding) -> Result<Self, Error> {
        let config = config(coding)?;
        // SAFETY: the options are plain numbers, for which zero is a value; the call fills them.
        let mut options: sys::WebPAnimEncoderOptions = unsafe { std::mem::zeroed() };
        let version = sys::WebPGetMuxABIVersion();
        // SAFETY: `options` is valid for writing.
        if unsafe { sys::WebPAnimEncoderOptionsInitInternal(&mut options, version) } == 0 {
            return Err(Error::internal("libwebp of another version"));
        }
        options.anim_params.loop_count = c_int::try_from(loops.min(65_535)).unwrap_or(0);
        // SAFETY: `options` is initialised; the result is checked.
        let encoder =
            unsafe { sys::WebPAnimEncoderNewInternal(width as c_int, height as c_int, &options, version) };
        if encoder.is_null() {
            return Err(Error::internal("libwebp has no memory for an animation"));
        }
        Ok(Self { encoder, config, now_ms: 0 })
    }

    pub fn add(&mut self, picture: &Picture, duration_ms: u32) -> Result<(), Error> {
        // The animation encoder compares frames in ARGB whatever it writes.
        let mut input = Input::new(picture, true)?;
        // SAFETY: the encoder is alive, the picture and the configuration initialised; the encoder
        // copies what it needs.
        let added = unsafe { sys::WebPAnimEncoderAdd(self.encoder, &mut input.0, self.now_ms, &self.config) };
        if added == 0 {
            return Err(self.failure());
        }
        self.now_ms = self.now_ms.saturating_add(c_int::try_from(duration_ms).unwrap_or(c_int::MAX));
        Ok(())
    }

    pub fn finish(self) -> Result<Vec<u8>, Error> {
        let mut data = sys::WebPData::default();
        // SAFETY: a null frame marks the end of the last one; the configuration is not read.
        let ended =
            unsafe { sys::WebPAnimEncoderAdd(self.encoder, ptr::null_mut(), self.now_ms, ptr::null()) };
        // SAFETY: the encoder is alive and `data` is valid for writing.
        let assembled = ended != 0 && unsafe { sys::WebPAnimEncoderAssemble(self.encoder, &mut data) } != 0;
        if !assembled {
            return Err(self.failure());
        }
        // SAFETY: libwebp has put `size` bytes at `bytes`, which this function owns and frees.
        let bytes = unsafe { std::slice::from_raw_parts(data.bytes, data.size) }.to_vec();
        // SAFETY: the memory came from libwebp and is freed once.
        unsafe { sys::WebPDataClear(&mut data) };
        Ok(bytes)
    }

    fn failure(&self) -> Error {
        // SAFETY: the encoder is alive; the text is its own and ends with a zero.
        let text = unsafe { std::ffi::CStr::from_ptr(sys::WebPAnimEncoderGetError(self.encoder)) };
        Error::internal(format!("WebP animation: {}", text.to_string_lossy()))
    }
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: the encoder came from `WebPAnimEncoderNewInternal` and is deleted once.
        unsafe { sys::WebPAnimEncoderDelete(self.encoder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_into_the_narrower_range_to_nearest() {
        for sample in 0..=255_u8 {
            let value = f64::from(sample);
            let light = 16.0 + value * 219.0 / 255.0;
            let colour = 128.0 + (value - 128.0) * 224.0 / 255.0;
            assert!((f64::from(LIGHT[usize::from(sample)]) - light).abs() <= 0.5);
            assert!((f64::from(COLOUR[usize::from(sample)]) - colour).abs() <= 0.5);
        }
        assert_eq!((LIGHT[0], LIGHT[255], COLOUR[128]), (16, 235, 128));
    }
}
