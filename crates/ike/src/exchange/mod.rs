//! One file an exchange, and the answering side of it in a file of its own where it has states of its own.

pub(crate) mod auth;
pub(crate) mod auth_answer;
pub(crate) mod body;
pub(crate) mod child;
pub(crate) mod child_answer;
pub(crate) mod child_refused;
pub(crate) mod doubt;
pub(crate) mod inform;
pub(crate) mod init;
pub(crate) mod init_answer;
pub(crate) mod rekey_ike;
pub(crate) mod rekey_ike_answer;
pub(crate) mod serve;
