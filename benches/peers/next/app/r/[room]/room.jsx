"use client";
// The same room page as Noom's: the same elements and the same text.
import { Fragment, useState } from "react";

const iso = (at) => new Date(at).toISOString();
const full = (at) => `${iso(at).slice(0, 10)} ${iso(at).slice(11, 19)}`;

export function Room({ room, messages, me }) {
  const [text, setText] = useState("");
  const [nickname, setNickname] = useState("");
  const [copied, setCopied] = useState(false);
  return (
    <>
      <div role="status" className="connection"></div>
      <a href="#text" className="skip">
        Skip to content
      </a>
      <div className="room">
        <header className="bar">
          <a href="/" aria-label="All rooms" className="home">
            <span className="mark" aria-hidden="true"></span>
          </a>
          <div className="room-title">
            <h1>
              <bdi>{room}</bdi>
            </h1>
            <p aria-live="off" className="count">
              {0} people
            </p>
          </div>
          <button type="button" className="copy needs-script" onClick={() => setCopied(true)}>
            <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
              <path d="M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1"></path>
            </svg>
            <span aria-live="polite" className="label">
              {copied ? "Link copied" : "Copy link"}
            </span>
          </button>
          <button type="button" className="call-button needs-script">
            Call
          </button>
          <p className="without-script hint">Calls need JavaScript.</p>
          <details className="menu">
            <summary>{0} people</summary>
            <div className="panel">
              <Members room={room} members={[]} />
            </div>
          </details>
        </header>
        <main>
          <div className="log-frame">
            <div role="log" tabIndex={0} aria-label="Messages" aria-busy="false" className="log">
              <div className="rows">
                <div className="beginning">
                  <p>This is the beginning of {room}.</p>
                </div>
                <ol>
                  {messages.map((message, index) => (
                    <Row key={message.seq} me={me} message={message} before={messages[index - 1]} />
                  ))}
                </ol>
                <ol aria-live="off" className="pending"></ol>
              </div>
            </div>
          </div>
          <div className="composer">
            <section className="name-prompt">
              <p>You are here as a guest. Choose a name.</p>
              <form action="/api/nickname" method="post" className="field">
                <input type="hidden" name="back" value={`/r/${room}`} />
                <label htmlFor="nickname" className="visually-hidden">
                  Your name
                </label>
                <div className="row">
                  <input
                    id="nickname"
                    name="nickname"
                    value={nickname}
                    onChange={(event) => setNickname(event.target.value)}
                    required
                    maxLength={200}
                    autoComplete="nickname"
                    placeholder={me.nickname}
                    aria-describedby="nickname-hint"
                  />
                  <button type="submit">Save</button>
                </div>
                <p id="nickname-hint" role="status" className="hint">
                  {" "}
                </p>
              </form>
            </section>
            <form action="/api/post" method="post">
              <input type="hidden" name="room" value={room} />
              <textarea
                id="text"
                name="text"
                rows={1}
                required
                dir="auto"
                value={text}
                onChange={(event) => setText(event.target.value)}
                aria-label="Message"
                placeholder="Write a message"
                aria-describedby="text-hint"
                enterKeyHint="send"
              ></textarea>
              <button type="submit" className="primary">
                Send
              </button>
            </form>
            <p id="text-hint" role="status" className="hint error"></p>
          </div>
        </main>
        <aside>
          <Members room={room} members={[]} />
        </aside>
      </div>
    </>
  );
}

function Row({ me, message, before }) {
  const { seq, user, text, at } = message;
  const startsDay = !before || iso(before.at).slice(0, 10) !== iso(at).slice(0, 10);
  const startsGroup = startsDay || before.user.id !== user.id || at - before.at > 300000;
  return (
    <li data-row={seq} className={`message ${user.id === me.id ? "own" : ""} ${startsGroup ? "starts-group" : ""}`}>
      {startsDay && (
        <div className="day">
          <span>{iso(at).slice(0, 10)}</span>
        </div>
      )}
      {startsGroup ? (
        <Fragment>
          <span aria-hidden="true" className={`avatar hue-${parseInt(user.id.slice(-1), 16) % 8}`}>
            {user.nickname[0].toUpperCase()}
          </span>
          <div className="byline">
            <bdi className="author">{user.nickname}</bdi>
            <time dateTime={iso(at)} title={full(at)}>
              {iso(at).slice(11, 16)}
            </time>
          </div>
        </Fragment>
      ) : (
        <span className="visually-hidden">{user.nickname}: </span>
      )}
      <p dir="auto" title={full(at)} className="text">
        {linked(text)}
      </p>
    </li>
  );
}

function Members({ room, members }) {
  return (
    <>
      <h2>People</h2>
      {members.length === 0 && <p className="empty">Nobody is here.</p>}
      <ul className="members">
        {members.map((user) => (
          <li key={user.id}>{user.nickname}</li>
        ))}
      </ul>
      <form action="/api/language" method="post" aria-label="Language" className="languages">
        <input type="hidden" name="back" value={`/r/${room}`} />
        <button type="submit" name="lang" value="en" lang="en" aria-pressed="true">
          English
        </button>
        <button type="submit" name="lang" value="ko" lang="ko" aria-pressed="false">
          한국어
        </button>
      </form>
    </>
  );
}

/** Turns URLs in a text into links. */
function linked(text) {
  const parts = text.split(/(https?:\/\/\S+)/);
  return parts.map((part, index) =>
    index % 2 ? (
      <a key={index} href={part} target="_blank" rel="noopener noreferrer nofollow ugc">
        {part}
      </a>
    ) : (
      part
    ),
  );
}
