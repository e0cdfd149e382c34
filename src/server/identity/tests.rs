//! Cookies and resume tokens: life cycle, rotation, exchange.

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY)
}

/// The request headers after these `Set-Cookie` headers.
fn headers<'a>(set_cookies: impl IntoIterator<Item = &'a HeaderValue>) -> HeaderMap {
    let pair = |cookie: &HeaderValue| cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    let pairs = set_cookies.into_iter().map(pair).collect::<Vec<_>>().join("; ");
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("a=b; {pairs}")).unwrap())])
}

fn identity() -> (tempfile::TempDir, Identity) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load(folder.path(), false).unwrap();
    (folder, identity)
}

#[test]
fn cookie_identifies_user_and_session_after_restart() {
    let (folder, identity) = identity();
    let visitor = identity.new_visitor();
    let cookie = identity.set_cookie(visitor, NOW);
    let text = cookie.to_str().unwrap();
    assert!(
        text.contains("HttpOnly")
            && text.contains("SameSite=Lax")
            && text.contains("Path=/")
            && !text.contains("Secure"),
        "{text}"
    );
    let restarted = Identity::load(folder.path(), false).unwrap();
    let found = restarted.from_cookie(&headers([&cookie]), NOW).unwrap();
    assert_eq!(found.credential, visitor);
    assert_eq!(restarted.renewal(found, NOW), [""; 0]);
}

#[test]
fn servers_on_one_host_keep_their_cookies_apart() {
    let ((_a, one), (_b, other)) = (identity(), identity());
    let (ann, bob) = (one.new_visitor(), other.new_visitor());
    let both = [one.set_cookie(ann, NOW), other.set_cookie(bob, NOW)];
    assert_ne!(one.cookie_name(), other.cookie_name());
    assert_eq!(one.from_cookie(&headers(&both), NOW).unwrap().credential, ann);
    assert_eq!(other.from_cookie(&headers(&both), NOW).unwrap().credential, bob);
    let renamed = both[1].to_str().unwrap().replace(&other.cookie_name(), &one.cookie_name());
    assert_eq!(one.from_cookie(&headers([&HeaderValue::from_str(&renamed).unwrap()]), NOW), None);
}

#[test]
fn cookie_is_bound_to_host_under_https() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load(folder.path(), true).unwrap();
    let cookie = identity.set_cookie(identity.new_visitor(), NOW);
    let text = cookie.to_str().unwrap();
    assert!(text.starts_with("__Host-noom-") && text.contains("Secure") && text.contains("Path=/"), "{text}");
}

#[test]
fn cookie_is_renewed_weekly_and_expires_after_400_days() {
    let (_folder, identity) = identity();
    let visitor = identity.new_visitor();
    let cookie = headers([&identity.set_cookie(visitor, NOW)]);
    let renewed_after = |age: u64| {
        let found = identity.from_cookie(&cookie, NOW + days(age))?;
        assert_eq!(found.credential, visitor);
        Some(identity.renewal(found, NOW + days(age)).len())
    };
    assert_eq!((renewed_after(6), renewed_after(7), renewed_after(399)), (Some(0), Some(1), Some(1)));
    assert_eq!(renewed_after(400), None);
    assert_eq!(identity.from_cookie(&cookie, NOW - days(9)).map(|found| found.credential), Some(visitor));
    let found = identity.from_cookie(&cookie, NOW + days(399)).unwrap();
    let renewed = headers(&identity.renewal(found, NOW + days(399)));
    assert_eq!(identity.from_cookie(&renewed, NOW + days(798)).unwrap().credential, visitor);
}

#[test]
fn rotation_keeps_visitors_for_the_overlap_and_renews_their_cookies() {
    let (folder, identity) = identity();
    let visitor = identity.new_visitor();
    let cookie = headers([&identity.set_cookie(visitor, NOW)]);
    assert_eq!(rotate_key(folder.path(), 30, NOW).unwrap(), 2);
    identity.reload().unwrap();
    let found = identity.from_cookie(&cookie, NOW + days(1)).unwrap();
    let renewed = headers(&identity.renewal(found, NOW + days(1)));
    assert_eq!(identity.from_cookie(&cookie, NOW + days(30)), None, "the old key is no longer valid");
    assert_eq!(identity.from_cookie(&renewed, NOW + days(30)).unwrap().credential, visitor);

    std::fs::write(folder.path().join("session.key"), "damaged").unwrap();
    assert!(identity.reload().is_err());
    assert_eq!(identity.from_cookie(&renewed, NOW + days(30)).unwrap().credential, visitor);
}

#[test]
fn token_is_valid_only_for_its_purpose() {
    let (_folder, identity) = identity();
    let visitor = identity.new_visitor();
    let token = identity.resume_token(visitor, None, NOW);
    let as_cookie = HeaderValue::from_str(&format!("{}={token}", identity.cookie_name())).unwrap();
    assert_eq!(identity.from_cookie(&headers([&as_cookie]), NOW), None, "a resume token is not a cookie");
    let cookie = identity.sign(Purpose::Cookie, visitor, NOW);
    assert_eq!(identity.verify_resume_token(&cookie, Some(visitor), NOW), None, "a cookie is not a resume token");
    for garbage in ["", "x", "ü".repeat(30).as_str(), "alone.7.7.7.1.x"] {
        assert_eq!(identity.verify_resume_token(garbage, None, NOW), None);
    }
}

#[test]
fn resume_token_needs_the_cookie_of_its_session() {
    let (_folder, identity) = identity();
    let (ann, bob) = (identity.new_visitor(), identity.new_visitor());
    let other_session = Credential { session: ann.session ^ 1, ..ann };
    let token = identity.resume_token(ann, Some(ann), NOW);
    let verify = |cookie, now| identity.verify_resume_token(&token, cookie, now);
    assert_eq!(verify(Some(ann), NOW + days(7)), Some(ann));
    assert_eq!(verify(Some(ann), NOW + days(8)), None);
    for cookie in [None, Some(bob), Some(other_session)] {
        assert_eq!(verify(cookie, NOW), None, "{cookie:?}");
    }
    let alone = identity.resume_token(bob, None, NOW);
    for cookie in [None, Some(ann), Some(bob)] {
        assert_eq!(identity.verify_resume_token(&alone, cookie, NOW), Some(bob), "{cookie:?}");
    }
}

#[test]
fn cookie_and_token_of_version_0_1_are_exchanged() {
    // As version 0.1 signed them with this key.
    const COOKIE_0_1: &str = "noom=AzRgcjWqoeZGueoYjyTW2qsBBDdpB4lWPHJ6hPPlNr4=user.00c0ffee00c0ffee";
    const TOKEN_0_1: &str = "7xNZF++xj0qjHN6kzqiVlAwZOpJhGe7lcGmKl9qpZ+8=resume.00c0ffee00c0ffee.1800000000";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("session.key"), [7; 64]).unwrap();
    let identity = Identity::load(folder.path(), false).unwrap();
    let user = UserId(0x00c0_ffee_00c0_ffee);
    let old = HeaderValue::from_static(COOKIE_0_1);
    let found = identity.from_cookie(&headers([&old]), NOW).unwrap();
    assert_eq!(found.credential.user, user);
    assert_eq!(identity.from_cookie(&headers([&old]), NOW), Some(found), "two tabs get the same session");
    let renewal = identity.renewal(found, NOW);
    assert_eq!(renewal.len(), 2);
    assert!(renewal[1].to_str().unwrap().starts_with("noom=; ") && renewal[1].to_str().unwrap().contains("Max-Age=0"));
    let found = identity.from_cookie(&headers([&renewal[0], &old]), NOW).unwrap();
    assert_eq!((found.credential.user, identity.renewal(found, NOW).len()), (user, 0), "once");

    let verify = |cookie| identity.verify_resume_token(TOKEN_0_1, cookie, NOW + days(7));
    assert_eq!(verify(Some(found.credential)), Some(found.credential));
    assert_eq!(verify(None).map(|credential| credential.user), Some(user));
    assert_eq!(verify(Some(identity.new_visitor())), None);
    assert_eq!(identity.verify_resume_token(TOKEN_0_1, None, NOW + days(8)), None);
    // A server that began later does not accept them, nor does this one after the overlap of a rotation.
    assert_eq!(self::identity().1.from_cookie(&headers([&old]), NOW), None);
    rotate_key(folder.path(), 30, NOW).unwrap();
    identity.reload().unwrap();
    assert!(identity.from_cookie(&headers([&old]), NOW + days(29)).is_some());
    assert_eq!(identity.from_cookie(&headers([&old]), NOW + days(30)), None);
}
