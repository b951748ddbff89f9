//! [`each`]: one expression over whichever backend a value of the facade is of.

/// Evaluates `$body` with the backend's own one bound, where `$of` is an enum with a variant
/// for each backend in the build.
macro_rules! each {
    ($on:expr, $of:ident($($inner:tt)+) => $body:expr) => {
        match $on {
            #[cfg(feature = "swap")]
            $of::Swap($($inner)+) => $body,
            #[cfg(feature = "file")]
            $of::File($($inner)+) => $body,
            #[cfg(not(any(feature = "swap", feature = "file")))]
            $of::None(ref never, ..) => match *never {},
        }
    };
}

pub(crate) use each;
