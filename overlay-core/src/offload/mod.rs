//! Super-frames: one frame of up to 64 KiB that stands for many, cut into segments and put together again.
