//! Work on pixels in memory, apart from any recipe.

pub(crate) mod blur;
pub(crate) mod compose;
pub(crate) mod lanczos;
mod line;
pub(crate) mod orient;
pub(crate) mod resize;
mod shape;
