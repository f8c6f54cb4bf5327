//! larder-assets
