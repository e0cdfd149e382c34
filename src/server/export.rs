//! Exports: all messages of a room as one file, in a format for programs or for people.
//!
//! [`document`] writes a file piece by piece, so that an export of any size needs little memory. The pieces come from
//! the database page by page, in order of `seq` and up to the room's head at the start: messages that are posted
//! meanwhile are not part of it, and no read transaction lasts long enough to delay checkpoints.
//! [`command`] is the command line; `server::http` serves exports, within the number of [`places`].

pub(in crate::server) mod about;
pub mod command;
pub(in crate::server) mod document;
pub(in crate::server) mod file_name;
pub mod format;
mod html;
mod json_lines;
pub(in crate::server) mod places;
