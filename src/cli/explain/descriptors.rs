//! The request that is explained: a domain and descriptors, as typed.

use thiserror::Error;

use super::making::Made;
use tollgate_core::descriptor::{Descriptor, Hits, Request};

/// What begins another descriptor.
const NEXT: &str = "+";

/// A request whose texts are owned.
#[derive(Debug)]
pub(in crate::cli) struct Asked {
    pub(in crate::cli) domain: String,
    pub(in crate::cli) descriptors: Vec<AskedDescriptor>,
    /// How the descriptors came about; none if they were typed.
    pub(super) made: Option<Made>,
}

#[derive(Debug)]
pub(in crate::cli) struct AskedDescriptor {
    pub(in crate::cli) entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) hits: Hits,
}

/// The arguments are no descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotDescriptors {
    /// An argument has no `=`.
    #[error("an entry of a descriptor is written KEY=VALUE, not {0:?}; for an empty value, write {0}=")]
    NoValue(String),
    /// There is nothing before or behind a `+`.
    #[error("a + stands between two descriptors, each with at least one KEY=VALUE")]
    NoEntries,
}

// === impl Asked ===

impl Asked {
    pub(super) fn from_arguments(
        domain: String,
        arguments: &[String],
        hits: u64,
    ) -> Result<Asked, NotDescriptors> {
        let descriptors = arguments.split(|argument| argument == NEXT).map(|arguments| {
            if arguments.is_empty() {
                return Err(NotDescriptors::NoEntries);
            }
            let entries = arguments.iter().map(|argument| {
                let (key, value) =
                    argument.split_once('=').ok_or_else(|| NotDescriptors::NoValue(argument.clone()))?;
                Ok((key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            });
            Ok(AskedDescriptor {
                entries: entries.collect::<Result<_, _>>()?,
                hits: Hits::new(Some(hits), 1, false),
            })
        });
        Ok(Asked { domain, descriptors: descriptors.collect::<Result<_, _>>()?, made: None })
    }

    pub(in crate::cli) fn request(&self) -> Request<'_> {
        let descriptors = self.descriptors.iter().map(AskedDescriptor::descriptor).collect();
        Request { domain: self.domain.as_bytes(), descriptors }
    }

    /// The same request, which only looks.
    pub(super) fn peek(&self) -> Request<'_> {
        let mut request = self.request();
        request.descriptors.iter_mut().for_each(|descriptor| descriptor.hits = Hits::Peek);
        request
    }
}

impl AskedDescriptor {
    fn descriptor(&self) -> Descriptor<'_> {
        Descriptor::new(self.entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())), self.hits)
    }
}
