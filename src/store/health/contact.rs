//! Whether the store can be used, in words for operators.

use std::fmt;

/// Whether the runtimes can use the store. Its text is for operators and holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Not every runtime has had a connection so far.
    NotYet {
        /// The number of runtimes that have.
        met: usize,
        /// The number of runtimes.
        of: usize,
        /// The last error; may be empty.
        trouble: String,
    },
    /// Not every runtime has had a connection so far, since the store cannot be used or refuses all calls.
    Unusable {
        /// What it refuses, and what helps.
        complaint: String,
    },
    /// Every runtime has a connection, and the store refuses nothing.
    All,
    /// Every runtime has had a connection, and some or all have lost it.
    Degraded {
        /// The number of runtimes with a connection.
        up: usize,
        /// The number of runtimes.
        of: usize,
        /// The last error; may be empty.
        trouble: String,
    },
    /// Every runtime has a connection, and the store refuses calls.
    Refused {
        /// What it refuses, and what helps.
        complaint: String,
    },
}

impl Contact {
    /// Whether every runtime has had a connection to a store that it could use. Once true, it stays so.
    pub fn is_made(&self) -> bool {
        match self {
            Contact::NotYet { .. } | Contact::Unusable { .. } => false,
            Contact::All | Contact::Degraded { .. } | Contact::Refused { .. } => true,
        }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = match self {
            Contact::All => return f.write_str("OK"),
            Contact::NotYet { met: 0, trouble, .. } => {
                f.write_str("no contact with the store yet")?;
                trouble
            }
            Contact::NotYet { met, of, trouble } => {
                write!(f, "{met} of {of} connections to the store have been up so far")?;
                trouble
            }
            Contact::Unusable { complaint } => return f.write_str(complaint),
            Contact::Degraded { up, of, trouble } => {
                write!(f, "degraded: {up} of {of} connections to the store are up")?;
                trouble
            }
            Contact::Refused { complaint } => {
                f.write_str("degraded: the store refuses calls")?;
                complaint
            }
        };
        if trouble.is_empty() { Ok(()) } else { write!(f, ": {trouble}") }
    }
}
