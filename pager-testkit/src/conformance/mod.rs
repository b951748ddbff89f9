//! The conformance suite: what every backend guarantees, one check each.
//!
//! The checks see a backend as its users do, through a [`Registry`]; so a
//! wrapper, a mode or a registry with another configuration is checked in the
//! same way. [`conformance_tests!`](crate::conformance_tests) stamps all of
//! them as separately named tests, and a guarantee that is added here reaches
//! every backend by itself. What not every backend promises, a test says with
//! [`Expectations`].
//!
//! ```text
//! expectations  what a test expects beyond what all backends guarantee
//! round_trip    what goes out comes back
//! reading       ranges, appending, bounds
//! lifetime      who is alive, and what is given back
//! sharing       threads
//! bytes         any length, any plain element, shared owners
//! ```
//!
//! It cannot check what takes a failing medium: that is what
//! [`FaultyBackend`](super::FaultyBackend) is for.

mod bytes;
mod expectations;
mod lifetime;
mod reading;
mod round_trip;
mod sharing;

pub use expectations::Expectations;

use pager_core::{Backend, Handle, Registry};

/// The one list: documentation, variant, check. `$then` gets all of it.
#[doc(hidden)]
#[macro_export]
macro_rules! __for_each_guarantee {
    ($then:path; $($context:tt)*) => {
        $then! { [$($context)*]
            "Payloads of every size come back word for word."
            PayloadsComeBack = round_trip::payloads_come_back_word_for_word;
            "The chunks of a payload come back joined in order, however many there are."
            ChunksComeBackJoined = round_trip::chunks_come_back_joined_in_order;
            "A page-out leaves every chunk empty."
            ChunksAreEmptied = round_trip::a_pageout_leaves_every_chunk_empty;
            "Where the backend promises so, the chunks keep their capacity."
            ChunksKeepCapacity = round_trip::chunks_keep_their_capacity_where_promised;
            "Chunks may be refilled and changed at once; the payload stays what it was."
            ChunksMayBeRefilled = round_trip::refilled_chunks_do_not_change_the_payload;
            "Where the backend promises so, a payload of one chunk comes back as the same allocation."
            SameAllocation = round_trip::one_chunk_comes_back_as_the_same_allocation_where_promised;
            "`ChunkBuf`s and `Vec`s page out and come back in every combination."
            ChunkBufsRoundTrip = round_trip::chunk_bufs_and_vecs_come_back_as_either;
            "A take forgets what the destination held."
            TakeClears = round_trip::a_take_replaces_what_the_destination_held;
            "A take works whatever capacity the destination has."
            TakeFitsAnyCapacity = round_trip::a_take_works_with_any_capacity;
            "Every range reads back, across chunk boundaries too."
            EveryRangeReads = reading::every_range_reads_back;
            "Reads append: what the destination held stays in front."
            ReadsAppend = reading::reads_append_to_the_destination;
            "Empty reads are legal everywhere up to the end and append nothing."
            EmptyReads = reading::empty_reads_append_nothing;
            "Many ranges come back in request order: overlapping, adjacent, backwards, repeated."
            ManyRanges = reading::many_ranges_come_back_in_request_order;
            "Ranges that reach outside, overflow or run backwards are typed errors and append nothing."
            BadRanges = reading::bad_ranges_are_typed_errors_and_append_nothing;
            "Reading changes nothing: the same words come back again, and a take after it."
            ReadsRepeat = reading::reading_changes_nothing;
            "Prefetching never changes a result, whatever range it names."
            PrefetchIsAHint = reading::prefetch_never_changes_a_result;
            "Dropping a handle gives everything back."
            DropReclaims = lifetime::dropping_a_handle_gives_everything_back;
            "Taking a payload gives everything back."
            TakeReclaims = lifetime::taking_a_payload_gives_everything_back;
            "The logical bytes are the bytes of the live payloads at any time."
            UsageIsExact = lifetime::logical_bytes_are_those_of_the_live_payloads;
            "Many live handles keep their own bytes while others come and go."
            HandlesKeepTheirBytes = lifetime::many_live_handles_keep_their_own_bytes;
            "What a freed payload held never shows in a later one."
            FreedBytesNeverShow = lifetime::freed_bytes_never_show_in_a_later_payload;
            "Handles work after the registry value is gone."
            HandlesOutliveTheRegistry = lifetime::handles_outlive_the_registry_value;
            "The listing has exactly the live handles."
            ListingIsExact = lifetime::the_listing_has_exactly_the_live_handles;
            "The totals count what happened."
            TotalsCount = lifetime::the_totals_count_what_happened;
            "An empty payload belongs to the backend and costs nothing."
            EmptyPayloads = lifetime::an_empty_payload_belongs_to_the_backend_and_costs_nothing;
            "Handles are `Send + Sync` and a few words in size."
            HandlesAreSmall = lifetime::handles_are_small_and_shareable;
            "Threads read one handle at once."
            ReadersShare = sharing::threads_read_one_handle_at_once;
            "Threads that page out, read, take and drop at once never see each other's words."
            ThreadsStayApart = sharing::threads_never_see_each_others_words;
            "A handle made by one thread may be read, taken or dropped by another."
            HandlesTravel = sharing::handles_travel_between_threads;
            "Payloads of bytes come back whatever their length is."
            BytesComeBack = bytes::bytes_of_every_length_come_back;
            "Payloads of any plain element come back, counted in elements."
            ElementsComeBack = bytes::elements_of_every_width_come_back;
            "Bytes of a shared owner go out as others do, and the owner is let go."
            SharedBytesComeBack = bytes::shared_bytes_come_back;
        }
    };
}

macro_rules! define_guarantees {
    ([] $($doc:literal $variant:ident = $module:ident :: $check:ident;)*) => {
        /// What every backend guarantees to its users.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Guarantee {
            $(#[doc = $doc] $variant,)*
        }

        impl Guarantee {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The guarantee in a sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// Checks the guarantee on a registry that holds nothing yet. One that
            /// not every backend gives is checked if it is `expected`.
            ///
            /// # Panics
            ///
            /// If it is not kept.
            pub fn check<F: Fixture>(self, expected: Expectations, make: impl FnOnce() -> F) {
                if !expected.include(self) {
                    println!("skipped: this backend does not promise it");
                    return;
                }
                // The guard outlives the registry and every handle.
                let (registry, _guard) = make().into_parts();
                match self { $(Self::$variant => $module::$check(registry),)* }
            }
        }
    };
}

crate::__for_each_guarantee! { define_guarantees; }

/// What a check works on: a [`Registry`], or a registry and something that has
/// to outlive it (a temporary directory, say).
pub trait Fixture {
    /// The backend under test.
    type Backend: Backend;
    /// What has to outlive the registry.
    type Guard;

    /// The registry, and its guard.
    fn into_parts(self) -> (Registry<Self::Backend>, Self::Guard);
}

impl<B: Backend> Fixture for Registry<B> {
    type Backend = B;
    type Guard = ();

    fn into_parts(self) -> (Registry<B>, ()) {
        (self, ())
    }
}

impl<B: Backend, G> Fixture for (Registry<B>, G) {
    type Backend = B;
    type Guard = G;

    fn into_parts(self) -> (Registry<B>, G) {
        self
    }
}

/// Stamps the whole conformance suite onto a backend, one test per
/// [`Guarantee`](crate::Guarantee) (and per mode).
///
/// `expecting` says what the backend promises beyond what all do
/// ([`Expectations`](crate::Expectations)); it may use the parameters, and without
/// it nothing more is expected.
///
/// Write a function that makes a fresh registry (or a registry and a guard, see
/// [`Fixture`](crate::Fixture)); it becomes an
/// [`rstest`](https://docs.rs/rstest) of that name, so the crate that uses the
/// macro needs `rstest` among its dev-dependencies. Parameters are rstest's and
/// must be `Clone`; each combination becomes a test of its own.
///
/// ```ignore
/// pager_testkit::conformance_tests! {
///     expecting if mode == SwapMode::Arena {
///         Expectations::none().keeps_capacity()
///     } else {
///         Expectations::none().same_allocation()
///     };
///     fn conforms(
///         #[values(SwapMode::Arena, SwapMode::Seed(SeedAdvice::Cold))] mode: SwapMode,
///     ) -> Registry<SwapBackend> {
///         Registry::new(SwapBackend::builder().mode(mode).build())
///     }
/// }
///
/// pager_testkit::conformance_tests! {
///     fn conforms() -> (Registry<FileBackend>, TempDir) {
///         let scratch = tempfile::tempdir().unwrap();
///         let backend = FileBackend::open(FileConfig::new(scratch.path())).unwrap();
///         (Registry::new(backend), scratch)
///     }
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    (
        expecting $expected:expr;
        $(#[$attribute:meta])* fn $name:ident ($($parameters:tt)*) -> $fixture:ty $body:block
    ) => {
        $crate::__for_each_guarantee! { $crate::__stamp_guarantees;
            ($expected) $(#[$attribute])* fn $name ($($parameters)*) -> $fixture $body
        }
    };
    ($(#[$attribute:meta])* fn $name:ident ($($parameters:tt)*) -> $fixture:ty $body:block) => {
        $crate::conformance_tests! {
            expecting $crate::Expectations::none();
            $(#[$attribute])* fn $name ($($parameters)*) -> $fixture $body
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __stamp_guarantees {
    (
        [
            ($expected:expr)
            $(#[$attribute:meta])* fn $name:ident ($($parameters:tt)*) -> $fixture:ty $body:block
        ]
        $($doc:literal $variant:ident = $module:ident :: $check:ident;)*
    ) => {
        $(#[$attribute])*
        #[::rstest::rstest]
        $(#[case::$check($crate::Guarantee::$variant)])*
        fn $name(#[case] guarantee: $crate::Guarantee, $($parameters)*) {
            guarantee.check($expected, || -> $fixture { $body });
        }
    };
}

/// Pages `chunks` out, which must work.
#[track_caller]
fn pageout<B: Backend>(registry: &Registry<B>, chunks: &mut [Vec<u64>]) -> Handle<B> {
    registry.pageout(chunks).expect("a page-out must succeed")
}

/// Pages out `len` words of the content that `seed` stands for, in one chunk.
#[track_caller]
fn pageout_words<B: Backend>(registry: &Registry<B>, seed: u64, len: usize) -> Handle<B> {
    pageout(registry, &mut [super::content::words(seed, len)])
}

/// The whole payload of `handle`.
#[track_caller]
fn taken<B: Backend>(handle: Handle<B>) -> Vec<u64> {
    let mut words = Vec::new();
    handle.take(&mut words).expect("a take must succeed");
    words
}

/// `len` words of `handle` from `offset` on.
#[track_caller]
fn read<B: Backend>(handle: &Handle<B>, offset: usize, len: usize) -> Vec<u64> {
    let mut words = Vec::new();
    handle
        .read_at(offset, len, &mut words)
        .expect("a read must succeed");
    words
}
