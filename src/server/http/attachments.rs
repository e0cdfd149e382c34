//! Files of a room: uploads at `/r/{room}/files`, and the files of messages below it.

mod refused;
mod room;
mod serve;
mod upload;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{Method, StatusCode};

use crate::protocol::AttachmentId;
use crate::server::Server;

/// The address of a file. The name of a room, percent-encoded, contains no slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileAddress<'a> {
    room: &'a str,
    target: Target,
}

/// The subject of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// `/r/{room}/files`: uploads of the room.
    Uploads,
    /// `/r/{room}/files/{id}`: an upload of the visitor.
    Upload(AttachmentId),
    /// `/r/{room}/files/{id}/{name}`: a file of a message.
    File(AttachmentId),
    /// `/r/{room}/thumbnails/{id}`: the thumbnail of a picture of a message.
    Thumbnail(AttachmentId),
}

/// Reads a path. `None`: it is not one of a file.
pub(super) fn file_address(path: &str) -> Option<FileAddress<'_>> {
    let (room, rest) = path.strip_prefix("/r/")?.split_once('/').filter(|(room, _)| !room.is_empty())?;
    // A path of one segment more is none of these.
    let target = match rest.splitn(4, '/').collect::<Vec<_>>()[..] {
        ["files"] => Target::Uploads,
        ["files", id] => Target::Upload(id.parse().ok()?),
        ["files", id, _] => Target::File(id.parse().ok()?),
        ["thumbnails", id] => Target::Thumbnail(id.parse().ok()?),
        _ => return None,
    };
    Some(FileAddress { room, target })
}

/// Answers requests for files, and passes on all others. The router has no routes for them, because `/r/{*room}`, the
/// route of pages, would conflict with them.
pub(super) async fn serve(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some(FileAddress { room, target }) = file_address(&path) else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    let result = match (target, &parts.method) {
        (Target::Uploads, &Method::POST) => upload::begin(&server, &parts, body, room).await,
        (Target::Upload(id), &Method::PATCH) => upload::append(&server, &parts, body, room, id).await,
        (Target::Upload(id), &Method::GET) => upload::state(&server, &parts, room, id).await,
        (Target::Upload(id), &Method::DELETE) => upload::cancel(&server, &parts, room, id).await,
        (Target::File(id), _) if read => serve::file(&server, &parts, room, id).await,
        (Target::Thumbnail(id), _) if read => serve::thumbnail(&server, &parts, room, id).await,
        _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed(target))]).into_response()),
    };
    match (result, target) {
        (Ok(response), _) => response,
        // Opened by a person, in a tab of its own.
        (Err(refused), Target::File(_)) => refused.as_text(&parts.headers),
        (Err(refused), Target::Uploads | Target::Upload(_) | Target::Thumbnail(_)) => refused.into_response(),
    }
}

fn allowed(target: Target) -> &'static str {
    match target {
        Target::Uploads => "POST",
        Target::Upload(_) => "GET,PATCH,DELETE",
        Target::File(_) | Target::Thumbnail(_) => "GET,HEAD",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_room_are_addresses_of_files() {
        let target = |path| file_address(path).map(|address| address.target);
        let id = AttachmentId(0x5e);
        assert_eq!(file_address("/r/a%2Fb/files"), Some(FileAddress { room: "a%2Fb", target: Target::Uploads }));
        assert_eq!(target("/r/files/files/000000000000005e"), Some(Target::Upload(id)));
        assert_eq!(target("/r/a/files/000000000000005e/x.png"), Some(Target::File(id)));
        assert_eq!(target("/r/a/thumbnails/000000000000005e"), Some(Target::Thumbnail(id)));
        for path in
            ["/r/files", "/r//files", "/r/a/files/", "/r/a/files/5e", "/r/a/files/000000000000005e/x/y", "/r/a/b"]
        {
            assert_eq!(target(path), None, "{path}");
        }
    }
}
