//! larder-image
