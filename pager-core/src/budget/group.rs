//! [`Group`]: payloads that belong together, those of one query or tenant.
//!
//! What a group has is counted by values that its payloads own: a [`Claim`] on its quota
//! lies in each handle, and the charges of its payloads' memory know the group. Both give
//! themselves back, so a group keeps no book of its own.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::{Error, Result};

/// Stands for no quota: more bytes than can be addressed.
const NO_QUOTA: u64 = u64::MAX;

/// Payloads that belong together, with a label and a quota: those of one query, say, or
/// of one tenant.
///
/// A clone is the same group. A page-out says that its payload belongs to one
/// ([`PageoutOptions::group`](crate::PageoutOptions::group)); what the group has is in
/// [`stats`](Self::stats), and in those of every budget that it was used under, until the
/// last clone and the last payload are gone.
///
/// ```
/// # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
/// # use in_memory::InMemory;
/// use pager_core::{Error, Group, Registry};
///
/// let registry = Registry::new(InMemory);
/// let group = Group::new("query 7").quota_bytes(10_000);
/// let query = registry.options().group(&group);
/// let handle = query.pageout(&mut [vec![1u64; 1000]])?;
/// let refused = query.pageout(&mut [vec![2u64; 1000]]).unwrap_err();
/// assert!(matches!(refused, Error::GroupQuotaExceeded { used_bytes: 8000, .. }));
///
/// drop(handle);
/// query.pageout(&mut [vec![2u64; 1000]])?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Group(Arc<Members>);

/// What a group's payloads count.
struct Members {
    label: Box<str>,
    quota_bytes: AtomicU64,
    /// Bytes of live payloads. Relaxed, as the others are: a reservation orders nothing
    /// but the counter itself.
    logical_bytes: AtomicU64,
    live_handles: AtomicU64,
    resident_bytes: AtomicU64,
    refusals: AtomicU64,
    /// The number of the list that it was last put into. Relaxed: who reads an old one
    /// looks into the list.
    list: AtomicU64,
}

/// What a group has at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupStats {
    /// What it is called.
    pub label: String,
    /// Bytes that its payloads may be; `None` without a quota.
    pub quota_bytes: Option<u64>,
    /// Its handles alive.
    pub live_handles: u64,
    /// Bytes of their payloads, as callers count them: what the quota bounds. Page-outs
    /// under way count.
    pub logical_bytes: u64,
    /// Bytes of memory that they occupy, out of the budget: the capacity of their
    /// buffers.
    pub resident_bytes: u64,
    /// Page-outs that the quota has refused.
    pub refused_pageouts: u64,
}

impl Group {
    /// A group of nothing yet, without a quota. Labels need not differ.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self(Arc::new(Members {
            label: label.into().into_boxed_str(),
            quota_bytes: AtomicU64::new(NO_QUOTA),
            logical_bytes: AtomicU64::new(0),
            live_handles: AtomicU64::new(0),
            resident_bytes: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            list: AtomicU64::new(0),
        }))
    }

    /// The same group, whose live payloads may have so many bytes together, in memory
    /// or not, as callers count them. A page-out that would exceed it is
    /// [`Error::GroupQuotaExceeded`].
    #[must_use]
    pub fn quota_bytes(self, quota_bytes: u64) -> Self {
        self.set_quota_bytes(Some(quota_bytes));
        self
    }

    /// Changes the quota, or takes it away. A smaller one than what there is refuses
    /// page-outs, and drops nothing.
    pub fn set_quota_bytes(&self, quota_bytes: Option<u64>) {
        let quota_bytes = quota_bytes.unwrap_or(NO_QUOTA);
        self.0.quota_bytes.store(quota_bytes, Ordering::Relaxed);
    }

    /// What it is called.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// What it has. A few loads.
    #[must_use]
    pub fn stats(&self) -> GroupStats {
        let members = &self.0;
        let quota_bytes = members.quota_bytes.load(Ordering::Relaxed);
        GroupStats {
            label: members.label.to_string(),
            quota_bytes: (quota_bytes != NO_QUOTA).then_some(quota_bytes),
            live_handles: members.live_handles.load(Ordering::Relaxed),
            logical_bytes: members.logical_bytes.load(Ordering::Relaxed),
            resident_bytes: members.resident_bytes.load(Ordering::Relaxed),
            refused_pageouts: members.refusals.load(Ordering::Relaxed),
        }
    }

    /// Counts a payload of `bytes`, if the quota allows.
    ///
    /// # Errors
    ///
    /// [`Error::GroupQuotaExceeded`]; nothing is counted then.
    pub(crate) fn claim(&self, bytes: usize) -> Result<Claim> {
        let members = &self.0;
        let needed_bytes = bytes as u64;
        let quota_bytes = members.quota_bytes.load(Ordering::Relaxed);
        let within = |used: u64| {
            used.checked_add(needed_bytes)
                .filter(|&sum| sum <= quota_bytes)
        };
        let counted =
            members
                .logical_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        if let Err(used_bytes) = counted {
            members.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(Error::GroupQuotaExceeded {
                group: self.label().to_owned(),
                needed_bytes,
                used_bytes,
                quota_bytes,
            });
        }
        members.live_handles.fetch_add(1, Ordering::Relaxed);
        Ok(Claim {
            group: self.clone(),
            bytes: needed_bytes,
        })
    }

    pub(super) fn add_resident(&self, bytes: usize) {
        self.0
            .resident_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sub_resident(&self, bytes: usize) {
        self.0
            .resident_bytes
            .fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

/// One payload's part of a group's quota, given back when this is dropped.
pub(crate) struct Claim {
    group: Group,
    bytes: u64,
}

impl Claim {
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let members = &self.group.0;
        members.live_handles.fetch_sub(1, Ordering::Relaxed);
        members
            .logical_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The groups that were used under one budget, as long as they live.
pub(super) struct Groups {
    listed: Mutex<Vec<Weak<Members>>>,
    /// Unlike that of any other list.
    number: u64,
}

impl Groups {
    pub(super) fn new() -> Self {
        // Of std, whoever checks: it decides nothing.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Self {
            listed: Mutex::new(Vec::new()),
            number: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// Lists a group, once. A load where it was listed here last.
    pub(super) fn add(&self, group: &Group) {
        if group.0.list.load(Ordering::Relaxed) == self.number {
            return;
        }
        let mut listed = lock(&self.listed);
        listed.retain(|other| other.strong_count() > 0);
        let added = Arc::downgrade(&group.0);
        if !listed.iter().any(|other| other.ptr_eq(&added)) {
            listed.push(added);
        }
        group.0.list.store(self.number, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Vec<GroupStats> {
        let alive: Vec<_> = lock(&self.listed)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        alive.into_iter().map(|it| Group(it).stats()).collect()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without their lock: a forked child prints too.
        f.write_str("groups")
    }
}
