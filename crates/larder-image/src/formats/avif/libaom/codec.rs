//! One frame by libaom, behind a function that is safe to call.

#![expect(unsafe_code, reason = "libaom is a C library; each call states why it is sound")]

use std::ffi::{CStr, c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use larder_jpeg::Plane;
use libaom_sys as sys;

use crate::Error;

/// The fastest of this mode.
const SPEED: c_int = 9;

/// What is set once the encoder is there. Matrices spare bits where the eye sees least; colours are sRGB's, in
/// the planes of a JPEG (numbers of ITU-T H.273).
const CONTROLS: &[(sys::aome_enc_control_id, c_int)] = &[
    (sys::AOME_SET_CPUUSED, SPEED),
    (sys::AV1E_SET_ENABLE_QM, 1),
    (sys::AV1E_SET_COLOR_PRIMARIES, sys::AOM_CICP_CP_BT_709 as c_int),
    (sys::AV1E_SET_TRANSFER_CHARACTERISTICS, sys::AOM_CICP_TC_SRGB as c_int),
    (sys::AV1E_SET_MATRIX_COEFFICIENTS, sys::AOM_CICP_MC_BT_601 as c_int),
    (sys::AV1E_SET_COLOR_RANGE, sys::AOM_CR_FULL_RANGE as c_int),
];

/// Encodes light, and the two colours at half its width and height (rounded up) if there are any, as the
/// bitstream of one still picture. `level` is the quantiser: 0, without loss, to 63.
pub(super) fn encode(light: &Plane, colours: Option<[&Plane; 2]>, level: c_uint) -> Result<Vec<u8>, Error> {
    let side = |samples: usize| c_uint::try_from(samples).map_err(|_| failure("a side beyond its limit"));
    let size = (side(light.width)?, side(light.height)?);
    let mut image = Image::new(size)?;
    image.fill(0, light)?;
    for (n, plane) in colours.iter().flatten().enumerate() {
        image.fill(n + 1, plane)?;
    }
    let mut encoder = Encoder::new(size, colours.is_none(), level)?;
    encoder.set(sys::AOME_SET_CQ_LEVEL, level as c_int)?;
    for &(name, value) in CONTROLS {
        encoder.set(name, value)?;
    }
    let mut stream = Vec::new();
    encoder.give(Some(&image))?;
    encoder.take(&mut stream);
    encoder.give(None)?;
    encoder.take(&mut stream);
    Ok(stream)
}

fn failure(reason: &str) -> Error {
    Error::internal(format!("libaom: {reason}"))
}

/// A picture of 4:2:0 in libaom's own memory.
struct Image(NonNull<sys::aom_image_t>);

impl Image {
    fn new((width, height): (c_uint, c_uint)) -> Result<Self, Error> {
        // SAFETY: without a place for the descriptor, libaom allocates that too; the result is checked.
        let image = unsafe { sys::aom_img_alloc(ptr::null_mut(), sys::AOM_IMG_FMT_I420, width, height, 32) };
        NonNull::new(image).map(Self).ok_or_else(|| failure("no memory for the picture"))
    }

    /// Copies plane 0, 1 or 2.
    fn fill(&mut self, number: usize, plane: &Plane) -> Result<(), Error> {
        // SAFETY: the descriptor came from `aom_img_alloc`, and nobody else refers to it.
        let image = unsafe { self.0.as_ref() };
        let half = |pixels: c_uint| if number == 0 { pixels } else { pixels.div_ceil(2) };
        let (width, height) = (half(image.d_w) as usize, half(image.d_h) as usize);
        let stride = image.stride[number] as usize;
        if (plane.width, plane.height) != (width, height) || stride < width {
            return Err(failure("planes of another size"));
        }
        for (y, row) in plane.rows().enumerate() {
            // SAFETY: libaom has allocated `height` rows of `stride` bytes for this plane, of which this is
            // row `y`; nobody else refers to them.
            let target =
                unsafe { std::slice::from_raw_parts_mut(image.planes[number].add(y * stride), width) };
            target.copy_from_slice(row);
        }
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the picture came from `aom_img_alloc` and is freed once.
        unsafe { sys::aom_img_free(self.0.as_ptr()) }
    }
}

/// An encoder of one frame. In a box, so that it stays where libaom has seen it.
struct Encoder(Box<sys::aom_codec_ctx_t>);

impl Encoder {
    fn new((width, height): (c_uint, c_uint), grey: bool, level: c_uint) -> Result<Self, Error> {
        // SAFETY: the call takes nothing and gives a table that lives as long as the program.
        let interface = unsafe { sys::aom_codec_av1_cx() };
        let mut config = MaybeUninit::uninit();
        // SAFETY: `config` is valid for writing; it is looked at only if it was filled.
        let status = unsafe {
            sys::aom_codec_enc_config_default(interface, config.as_mut_ptr(), sys::AOM_USAGE_ALL_INTRA)
        };
        if status != sys::AOM_CODEC_OK {
            return Err(failure("it can't encode single pictures"));
        }
        // SAFETY: the call above has filled it.
        let mut config: sys::aom_codec_enc_cfg_t = unsafe { config.assume_init() };
        (config.g_w, config.g_h) = (width, height);
        config.g_threads = 1;
        // One frame, which is coded as a still picture.
        config.g_limit = 1;
        config.g_lag_in_frames = 0;
        config.monochrome = grey.into();
        config.rc_end_usage = sys::AOM_Q;
        (config.rc_min_quantizer, config.rc_max_quantizer) = (level, level);
        let mut context = Box::new(MaybeUninit::uninit());
        let version = sys::AOM_ENCODER_ABI_VERSION as c_int;
        // SAFETY: `context` is valid for writing and the configuration filled; libaom copies it.
        let status =
            unsafe { sys::aom_codec_enc_init_ver(context.as_mut_ptr(), interface, &config, 0, version) };
        if status != sys::AOM_CODEC_OK {
            // libaom has freed what it had begun.
            return Err(failure("it does not start"));
        }
        // SAFETY: the call above has initialised it.
        Ok(Self(unsafe { context.assume_init() }))
    }

    fn set(&mut self, name: sys::aome_enc_control_id, value: c_int) -> Result<(), Error> {
        // SAFETY: the encoder is alive; the controls that are set take one `int`, or an `unsigned int`, as
        // which a value that is not negative is passed in the same way.
        let status = unsafe { sys::aom_codec_control(&mut *self.0, name as c_int, value) };
        self.check(status)
    }

    /// Encodes a picture; none marks the end.
    fn give(&mut self, image: Option<&Image>) -> Result<(), Error> {
        let image = image.map_or(ptr::null(), |image| image.0.as_ptr().cast_const());
        // SAFETY: the encoder is alive; the picture, if any, lives until the call returns, which copies it.
        let status = unsafe { sys::aom_codec_encode(&mut *self.0, image, 0, 1, 0) };
        self.check(status)
    }

    /// Appends what is ready.
    fn take(&mut self, stream: &mut Vec<u8>) {
        let mut position = ptr::null();
        loop {
            // SAFETY: the encoder is alive; `position` began as null and is moved by libaom alone. The packet
            // is valid until the next call.
            let Some(packet) = (unsafe { sys::aom_codec_get_cx_data(&mut *self.0, &mut position).as_ref() })
            else {
                return;
            };
            if packet.kind == sys::AOM_CODEC_CX_FRAME_PKT {
                // SAFETY: packets of this kind hold a frame: `sz` bytes at `buf`, valid until the next call.
                let bytes = unsafe {
                    let frame = packet.data.frame;
                    std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz)
                };
                stream.extend_from_slice(bytes);
            }
        }
    }

    fn check(&self, status: sys::aom_codec_err_t) -> Result<(), Error> {
        if status == sys::AOM_CODEC_OK {
            return Ok(());
        }
        // SAFETY: the encoder is alive; libaom gives a text that ends with a zero.
        let text = unsafe { CStr::from_ptr(sys::aom_codec_error(&*self.0)) };
        Err(failure(&text.to_string_lossy()))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the encoder was initialised and is destroyed once.
        unsafe { sys::aom_codec_destroy(&mut *self.0) };
    }
}
