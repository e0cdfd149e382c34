//! Messages of this user that are not stored yet. Pure.

use crate::protocol::codec::wire;
use crate::protocol::frame::Post;
use crate::protocol::{AttachmentId, MessageKey, MessageRef, RoomId, UserId};

wire! {
    /// A message that waits to be stored: [`Post`], for a room that may not have been entered yet. Browsers keep it in
    /// this form.
    pub struct UnsentMessage {
        /// The name of the room.
        pub room: String,
        /// See [`Post::key`].
        pub key: MessageKey,
        /// See [`Post::text`].
        pub text: String,
        /// See [`Post::reply_to`].
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reply_to: Option<MessageRef>,
        /// See [`Post::attachments`].
        #[serde(skip_serializing_if = "Option::is_none")]
        pub attachments: Option<Vec<AttachmentId>>,
        /// See [`Post::mentions`].
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<Vec<UserId>>,
    }
}

impl UnsentMessage {
    /// A message with nothing but a text.
    pub fn of_text(room: String, key: MessageKey, text: String) -> Self {
        Self { room, key, text, reply_to: None, attachments: None, mentions: None }
    }

    /// The command that posts it in its room.
    pub(super) fn post_in(&self, room: RoomId) -> Post {
        let Self { room: _, key, text, reply_to, attachments, mentions } = self.clone();
        Post { room, key, text, reply_to, attachments, mentions }
    }
}
