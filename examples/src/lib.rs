//! Programs that use Sotong as a library: see the `examples` folder of this crate.
