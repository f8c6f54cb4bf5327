//! larder-catalog
