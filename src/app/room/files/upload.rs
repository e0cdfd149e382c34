//! The upload of a file in pieces. After a lost connection it goes on where the server has got to.

use std::rc::Rc;
use std::time::Duration;

use futures::lock::Mutex;
use gloo_net::http::{Request, Response};
use gloo_timers::future::sleep;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use super::list::{Item, Stage};
use crate::app::path;
use crate::app::room_context::RoomContext;
use crate::protocol::{Attachment, AttachmentId, ErrorCode, FromJson, Json, NewUpload, Reading, Refusal, UploadState};

/// The size of a piece: small enough to see the progress of a slow upload.
const PIECE_BYTES: u64 = 512 * 1024;
/// The shortest and the longest delay before another try.
const DELAYS_MS: (u64, u64) = (500, 8_000);

thread_local! {
    /// One file after the other, so that the first is complete soon.
    static TURN: Rc<Mutex<()>> = Rc::default();
}

/// The reason why a request has failed.
enum Failure {
    /// There was no answer.
    Unreachable,
    Refused(Refusal),
    /// The browser cannot read the file: it is a folder, or was changed or removed meanwhile.
    Unreadable,
}

/// Tells the server that a finished upload is not needed.
pub(super) fn discard(room: RoomContext, id: AttachmentId) {
    let Some(address) = room.state.name.try_with_value(|name| format!("{}/files/{id}", path::room(name))) else {
        return;
    };
    spawn_local(delete(address));
}

/// Uploads a file, until it is complete, refused, or removed by the user.
pub(super) async fn run(room: RoomContext, item: Item, file: File) {
    let Some(room_path) = room.state.name.try_with_value(|name| format!("{}/files", path::room(name))) else { return };
    let mut upload = Upload { room, item, file, room_path, id: None };
    let result = upload.complete().await;
    let Upload { item, .. } = &upload;
    if room.files.has(item.key) {
        match result {
            Some(Ok(attachment)) => drop(item.stage.try_set(Stage::Done(Box::new(attachment)))),
            Some(Err(refusal)) => drop(item.stage.try_set(Stage::Failed(refusal))),
            None => {}
        }
    } else {
        upload.cancel().await;
    }
}

struct Upload {
    room: RoomContext,
    item: Item,
    file: File,
    room_path: String,
    id: Option<AttachmentId>,
}

impl Upload {
    /// `None`: the user has removed the file. An error without a refusal: the browser cannot read it.
    async fn complete(&mut self) -> Option<Result<Attachment, Option<Refusal>>> {
        let turn = TURN.with(Rc::clone);
        let mut guard = turn.lock().await;
        let (mut offset, mut delay_ms) = (0, DELAYS_MS.0);
        while self.room.files.has(self.item.key) {
            let failure = match self.send(offset).await {
                Ok(UploadState { attachment: Some(attachment), .. }) => return Some(Ok(attachment)),
                Ok(state) => {
                    (offset, delay_ms) = (state.offset, DELAYS_MS.0);
                    self.item.stage.try_set(Stage::Sending(offset));
                    continue;
                }
                Err(failure) => failure,
            };
            let wait_ms = match failure {
                // The server was restarted, and has forgotten it.
                Failure::Refused(refusal) if refusal.code == ErrorCode::UploadNotFound && self.id.is_some() => {
                    (self.id, offset) = (None, 0);
                    delay_ms
                }
                Failure::Refused(refusal) => match wait_after(&refusal, delay_ms) {
                    Some(wait_ms) => wait_ms,
                    None => return Some(Err(Some(refusal))),
                },
                Failure::Unreachable => delay_ms,
                Failure::Unreadable => return Some(Err(None)),
            };
            let state = if wait_ms > 0 { None } else { self.state().await.ok() };
            if let Some(state) = state {
                offset = state.offset;
                continue;
            }
            self.item.stage.try_set(Stage::Waiting(offset));
            // Meanwhile it is the turn of the other files.
            drop(guard);
            sleep(Duration::from_millis(wait_ms.max(delay_ms))).await;
            guard = turn.lock().await;
            delay_ms = (delay_ms * 2).min(DELAYS_MS.1);
            if let Ok(state) = self.state().await {
                offset = state.offset;
            }
        }
        None
    }

    /// Announces the file, or sends its next piece.
    async fn send(&mut self, offset: u64) -> Result<UploadState, Failure> {
        let Some(id) = self.id else {
            let announced = NewUpload { name: self.item.name.clone(), bytes: self.item.bytes };
            let body = serde_json::to_string(&announced).expect("a name and a number have no map keys");
            let state = read(Request::post(&self.room_path).body(body)).await?;
            self.id = Some(state.id);
            return Ok(state);
        };
        let end = self.item.bytes.min(offset + PIECE_BYTES);
        let piece = self.file.slice_with_f64_and_f64(offset as f64, end as f64).map_err(|_| Failure::Unreadable)?;
        // Read here, because a request does not tell a file that cannot be read from a lost connection.
        let piece = JsFuture::from(piece.array_buffer()).await.map_err(|_| Failure::Unreadable)?;
        let request = Request::patch(&self.address(id))
            .header("upload-offset", &offset.to_string())
            .header("content-type", "application/octet-stream");
        read(request.body(piece)).await
    }

    /// Asks how much the server has.
    async fn state(&self) -> Result<UploadState, Failure> {
        match self.id {
            Some(id) => read(Request::get(&self.address(id)).build()).await,
            None => Err(Failure::Unreachable),
        }
    }

    /// Tells the server that the file is not needed. If that fails, the server forgets it later.
    async fn cancel(&self) {
        // A message may have it by now; then the server keeps it.
        if let Some(id) = self.id {
            delete(self.address(id)).await;
        }
    }

    fn address(&self, id: AttachmentId) -> String {
        format!("{}/{id}", self.room_path)
    }
}

async fn delete(address: String) {
    if let Ok(request) = Request::delete(&address).build() {
        let _ = request.send().await;
    }
}

/// The time after which an upload may go on in spite of a refusal, if it may.
fn wait_after(refusal: &Refusal, delay_ms: u64) -> Option<u64> {
    if refusal.code == ErrorCode::RateLimited {
        Some(refusal.retry_after_ms.unwrap_or(delay_ms))
    } else if refusal.code == ErrorCode::UploadOffset {
        Some(0)
    } else {
        // The disk is full, or the bucket is gone: for a while, hopefully.
        (refusal.code == ErrorCode::StoreUnavailable).then_some(delay_ms)
    }
}

/// Sends a request and reads the answer.
async fn read(request: Result<Request, gloo_net::Error>) -> Result<UploadState, Failure> {
    let response = async { request?.send().await };
    let response = response.await.map_err(|_: gloo_net::Error| Failure::Unreachable)?;
    if response.ok() { decode(&response).await } else { Err(Failure::Refused(refusal(&response).await?)) }
}

/// The refusal in a response. One without a code is of a proxy, or of the limits of an address: later it may be different.
async fn refusal(response: &Response) -> Result<Refusal, Failure> {
    let is_final = (400..429).contains(&response.status());
    let refusal = decode::<Refusal>(response).await;
    if is_final { Ok(refusal.unwrap_or_else(|_| ErrorCode::Unknown.into())) } else { refusal }
}

async fn decode<T: FromJson>(response: &Response) -> Result<T, Failure> {
    let text = response.text().await.map_err(|_| Failure::Unreachable)?;
    let decoded = Json::parse(&text, Reading::Tolerant).and_then(|json| T::from_json(json, Reading::Tolerant));
    decoded.map_err(|_| Failure::Unreachable)
}
