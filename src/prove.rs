//! `tollgate prove`.
mod audit;
