//! Views of an erased type, in the size that this page needs.
//!
//! A type is erased so that the compiler does not build each combination of a view's parts. Leptos's `into_any` also
//! keeps the code that hydrates a view asynchronously, for pages whose routes are loaded lazily. Noom hydrates its pages
//! at once (`hydrate_body`), so that code would never run; it was a seventh of the WASM.

use leptos::prelude::*;
use leptos::tachys::html::attribute::Attribute;
use leptos::tachys::html::attribute::any_attribute::AnyAttribute;
use leptos::tachys::hydration::Cursor;
use leptos::tachys::ssr::StreamBuilder;
use leptos::tachys::view::add_attr::AddAnyAttr;
use leptos::tachys::view::{Position, PositionState, Render, RenderHtml};

/// Erases the type of a view.
pub(super) trait Erase: IntoView + 'static {
    /// A view of the same content.
    fn erase(self) -> AnyView {
        HydratedAtOnce(self).into_any()
    }
}

impl<V: IntoView + 'static> Erase for V {}

/// A view without asynchronous hydration: the provided `hydrate_async` of [`RenderHtml`] hydrates at once.
struct HydratedAtOnce<V>(V);

impl<V: Render> Render for HydratedAtOnce<V> {
    type State = V::State;

    fn build(self) -> Self::State {
        self.0.build()
    }

    fn rebuild(self, state: &mut Self::State) {
        self.0.rebuild(state);
    }
}

impl<V: AddAnyAttr> AddAnyAttr for HydratedAtOnce<V> {
    type Output<Added: Attribute> = HydratedAtOnce<V::Output<Added>>;

    fn add_any_attr<Added: Attribute>(self, attribute: Added) -> Self::Output<Added>
    where
        Self::Output<Added>: RenderHtml,
    {
        HydratedAtOnce(self.0.add_any_attr(attribute))
    }
}

impl<V: RenderHtml> RenderHtml for HydratedAtOnce<V> {
    type AsyncOutput = V::AsyncOutput;
    type Owned = HydratedAtOnce<V::Owned>;

    const MIN_LENGTH: usize = V::MIN_LENGTH;
    const EXISTS: bool = V::EXISTS;

    fn dry_resolve(&mut self) {
        self.0.dry_resolve();
    }

    async fn resolve(self) -> Self::AsyncOutput {
        self.0.resolve().await
    }

    fn html_len(&self) -> usize {
        self.0.html_len()
    }

    fn to_html_with_buf(
        self,
        buffer: &mut String,
        position: &mut Position,
        escape: bool,
        mark_branches: bool,
        extra_attributes: Vec<AnyAttribute>,
    ) {
        self.0.to_html_with_buf(buffer, position, escape, mark_branches, extra_attributes);
    }

    fn to_html_async_with_buf<const OUT_OF_ORDER: bool>(
        self,
        buffer: &mut StreamBuilder,
        position: &mut Position,
        escape: bool,
        mark_branches: bool,
        extra_attributes: Vec<AnyAttribute>,
    ) {
        self.0.to_html_async_with_buf::<OUT_OF_ORDER>(buffer, position, escape, mark_branches, extra_attributes);
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> Self::State {
        self.0.hydrate::<FROM_SERVER>(cursor, position)
    }

    fn into_owned(self) -> Self::Owned {
        HydratedAtOnce(self.0.into_owned())
    }
}
