//! What is asked: domain, descriptors, entries and hits; and the key of a bucket.

/// One key/value pair of a descriptor, as bytes: Envoy passes on header values that are no UTF-8.
pub struct Entry {}
