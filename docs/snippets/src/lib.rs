//! The snippets of the documents, compiled and run as doctests: `cargo test -p pager-book`.
//!
//! Guarantees that what a reader copies works. Nothing depends on this crate, and it is not
//! published: a package of a product crate holds no document that lies outside of it.

/// One of these for each document that has Rust in it.
macro_rules! documents {
    ($($name:ident: $path:literal;)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            struct $name;
        )*
    };
}

documents! {
    FrontPage: "../../../README.md";
    Start: "../../../docs/start.md";
    Backends: "../../../docs/backends.md";
    Budgets: "../../../docs/budgets.md";
    Streams: "../../../docs/streams.md";
    Codecs: "../../../docs/codecs.md";
    Trouble: "../../../docs/trouble.md";
    WritingABackend: "../../../docs/writing-a-backend.md";
    WritingAnAdapter: "../../../docs/writing-an-adapter.md";
}
