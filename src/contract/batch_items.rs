//! The binary form of a batch's items in the input of `batch.v1`.
//!
//! | format (1) | length (4) | datum | prefix | number of seals | rest of each seal | a note for each item |
//!
//! Each part from the prefix to the last seal has its length (2) in front.
//! The datum is the batch's request in Avro, without any targets; its schema is in `schemas/history/{format}`, so that
//! later versions can read it. Each distinct target is sealed once, and the prefix that all seals share is stored once.
//! A note is the number of the item's seal (0: none) and the hash in its fingerprint. An item takes at most
//! about 78 bytes more than in the request's record.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::contract::avro;
use crate::contract::run::{BatchStart, Start};
use crate::contract::seal::Sealer;
use crate::domain::{
    BatchItem, BatchSpec, Journal, Notify, OnFailure, Request, Sealed, Single, Spec, Strategy,
    Targets, content_hash, spelled,
};

/// The format that this version writes; also the version of the request's schema.
const FORMAT: u8 = 1;
/// Length of the hash in a fingerprint, in bytes.
const HASH: usize = 32;

/// Why bytes cannot be read as items.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the items are empty")]
    Empty,
    #[error("the items have format {0}, expected {FORMAT}; a later version of genflow wrote them")]
    Format(u8),
    /// They are truncated or changed.
    #[error("the items are damaged")]
    Damaged,
    #[error("the items cannot be decoded")]
    Avro(#[source] Box<avro::Error>),
}

/// The items of a batch, and how they run.
#[derive(Debug)]
pub struct Items {
    spec: BatchSpec,
    seals: Vec<Sealed>,
    notes: Vec<ItemNote>,
}

#[derive(Clone, Copy, Debug)]
struct ItemNote {
    /// Number of the seal, from 1; 0 if the item has none.
    seal: u16,
    hash: [u8; HASH],
}

/// Encodes the items of `batch`, whose spec is `spec`, and seals their targets.
///
/// # Errors
/// A request that was parsed causes none.
pub fn write(batch: &Request, spec: &BatchSpec, sealer: &Sealer) -> Result<Vec<u8>, anyhow::Error> {
    let mut seals = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut notes = Vec::with_capacity(spec.items.len() * (HASH + 2));
    for item in &spec.items {
        let number = match &item.webhook_url {
            None => 0,
            Some(url) => match numbers.get(url) {
                Some(number) => *number,
                None => {
                    let targets = Targets {
                        webhook: Some(url.clone()),
                        ..Targets::default()
                    };
                    seals.push(sealer.seal(&targets, batch.id.as_str())?.0);
                    let number = u16::try_from(seals.len())?;
                    numbers.insert(url, number);
                    number
                }
            },
        };
        notes.extend_from_slice(&number.to_be_bytes());
        notes.extend_from_slice(&content_hash(&batch.item(item))?);
    }
    let datum = avro::write_request(&bare(batch, spec)).context("the items cannot be written")?;
    let prefix = common(&seals);
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&u32::try_from(datum.len())?.to_be_bytes());
    bytes.extend_from_slice(&datum);
    let mut put = |part: &[u8]| -> Result<(), anyhow::Error> {
        bytes.extend_from_slice(&u16::try_from(part.len())?.to_be_bytes());
        bytes.extend_from_slice(part);
        Ok(())
    };
    put(&prefix)?;
    put(&u16::try_from(seals.len())?.to_be_bytes())?;
    for seal in &seals {
        put(seal.get(prefix.len()..).unwrap_or_default())?;
    }
    bytes.extend_from_slice(&notes);
    Ok(bytes)
}

/// Returns the request without targets, `notify_on` and metadata: targets are sealed, `BatchStart` carries the others.
fn bare(batch: &Request, spec: &BatchSpec) -> Request {
    let items = spec.items.iter().map(|item| BatchItem {
        webhook_url: None,
        ..item.clone()
    });
    Request {
        spec: Spec::Batch(BatchSpec {
            items: items.collect(),
            ..*spec
        }),
        targets: Targets::default(),
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
        ..batch.clone()
    }
}

/// Returns the prefix that all seals share.
fn common(seals: &[Vec<u8>]) -> Vec<u8> {
    let Some(first) = seals.first() else {
        return Vec::new();
    };
    let alike = |seal: &Vec<u8>| first.iter().zip(seal).take_while(|(a, b)| a == b).count();
    let length = seals.iter().map(alike).min().unwrap_or(0);
    first.iter().take(length).copied().collect()
}

impl Items {
    /// Decodes items.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = match bytes.split_first() {
            Some((&FORMAT, rest)) => Rest(rest),
            Some((format, _)) => return Err(Unreadable::Format(*format)),
            None => return Err(Unreadable::Empty),
        };
        let length = u32::from_be_bytes(rest.array()?);
        let datum = rest.take(usize::try_from(length).map_err(|_| Unreadable::Damaged)?)?;
        let request = avro::read_stored(datum).map_err(|error| Unreadable::Avro(error.into()))?;
        let Spec::Batch(spec) = request.spec else {
            return Err(Unreadable::Damaged);
        };
        let prefix = rest.part()?;
        let count: [u8; 2] = rest.part()?.try_into().map_err(|_| Unreadable::Damaged)?;
        let mut seals = Vec::new();
        for _ in 0..u16::from_be_bytes(count) {
            seals.push(Sealed([prefix, rest.part()?].concat()));
        }
        let mut notes = Vec::with_capacity(spec.items.len());
        for _ in &spec.items {
            notes.push(ItemNote {
                seal: u16::from_be_bytes(rest.array()?),
                hash: rest.array()?,
            });
        }
        match rest.0 {
            [] => Ok(Self { spec, seals, notes }),
            _ => Err(Unreadable::Damaged),
        }
    }

    pub fn total(&self) -> u32 {
        u32::try_from(self.spec.items.len()).unwrap_or(u32::MAX)
    }

    pub fn window(&self) -> usize {
        match self.spec.strategy {
            Strategy::Sequential => 1,
            Strategy::Parallel => usize::try_from(self.spec.max_concurrent)
                .unwrap_or(1)
                .max(1),
        }
    }

    pub fn on_failure(&self) -> OnFailure {
        self.spec.on_failure
    }

    /// Returns the workflow input of an item; `None` if there is no such item.
    pub fn start(&self, batch: &BatchStart, index: u32) -> Option<Start> {
        let index = usize::try_from(index).ok()?;
        let (item, note) = self.spec.items.get(index).zip(self.notes.get(index))?;
        let on = match item.notify_on.is_empty() {
            true => &batch.notify_on,
            false => &item.notify_on,
        };
        let sealed = usize::from(note.seal).checked_sub(1);
        let sealed = sealed.and_then(|at| self.seals.get(at)).cloned();
        let provider = batch.providers.of(&item.spec);
        Some(Start {
            request: item.request_id.clone(),
            retry: 0,
            batch: Some(batch.request.clone()),
            user: batch.user.clone(),
            spec: item.spec.clone(),
            provider,
            fallback: batch
                .fallbacks
                .of(&item.spec, provider, &batch.submit_queues),
            fingerprint: spelled(&note.hash),
            metadata: item.metadata.clone(),
            notify: sealed.filter(|_| !on.is_empty()).map(|sealed| Notify {
                on: on.clone(),
                sealed,
            }),
            timeout_ms: match item.spec {
                Single::Video(_) => batch.video_timeout_ms,
                Single::Image(_) => batch.image_timeout_ms,
            },
            steps: batch.steps,
            fetch_queue: batch.fetch_queue.clone(),
            submit_queue: batch.submit_queues.of(provider),
            traceparent: batch.traceparent.clone(),
            journal: Journal::default(),
        })
    }
}

struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn part(&mut self) -> Result<&'b [u8], Unreadable> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
