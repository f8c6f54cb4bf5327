//! icc
