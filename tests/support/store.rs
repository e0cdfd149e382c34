//! A store that a test writes to without a server.

use noom::protocol::{MessageKey, User, UserId};
use noom::server::id::RoomRow;
use noom::server::store::{Append, Store};
use tokio::sync::oneshot;

/// Posts messages together, with other keys each time.
pub async fn post_all(store: &Store, room: &RoomRow, texts: impl IntoIterator<Item = String>) {
    let mut answers = Vec::new();
    let head = store.extent(room.clone()).await.unwrap().head;
    for (number, text) in texts.into_iter().enumerate() {
        let (done, answer) = oneshot::channel();
        let (user, key) = (User { id: UserId(1), nickname: "Ann".into() }, u128::from(head) << 64 | number as u128);
        let append =
            Append::of_text(room.clone(), user, MessageKey(key), text, move |outcome| drop(done.send(outcome)));
        store.append(append).unwrap();
        answers.push(answer);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
}
