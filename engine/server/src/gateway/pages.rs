//! Lists by pages, as Relay reads them.

use std::ops::Bound::{self, Unbounded};
use std::sync::Arc;

use async_graphql::connection::{CursorType as _, OpaqueCursor, PageInfo};
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use ochre_core::action::Action as Resource;
use ochre_core::code::Code;
use serde::{Deserialize, Serialize};

use super::error::GatewayError;
use super::inputs::ActionFilter;
use super::operations::{At, permitted};
use super::outputs::Action;
use crate::index::{By, Index, Place};

/// The most objects of a page.
pub(super) const MOST: usize = 100;

/// Reads by pages.
pub(super) struct PageQuery;

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
pub(super) enum ActionOrder {
    /// What was created last.
    NewestFirst,
    /// What was created first.
    OldestFirst,
    /// By name.
    Name,
}

/// A page of Actions.
#[derive(SimpleObject)]
pub(super) struct ActionConnection {
    /// Its Actions, each with its cursor.
    edges: Vec<ActionEdge>,
    /// Whether there are other pages.
    page_info: PageInfo,
    /// How many Actions fit, on all pages.
    total_count: usize,
}

/// An Action on a page.
#[derive(SimpleObject)]
pub(super) struct ActionEdge {
    /// The place to go on from.
    cursor: String,
    /// The Action.
    node: Action,
}

type Cursor = OpaqueCursor<(ActionOrder, Place)>;

#[Object]
impl PageQuery {
    /// Lists Actions by pages.
    #[expect(clippy::too_many_arguments, reason = "they are Relay's, with a filter and an order")]
    async fn actions_connection(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many, from the front; at most 100, and 50 when nothing else is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many, from the back; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which ones.")] filter: Option<ActionFilter>,
        #[graphql(desc = "What comes first.", default_with = "ActionOrder::NewestFirst")]
        order_by: ActionOrder,
    ) -> Result<ActionConnection> {
        let At { gateway, namespace, .. } = permitted(context, "list", None).await?;
        let fits = filter.unwrap_or_default().prepare()?;
        let page = Page {
            order: order_by,
            after: order_by.at("after", after)?,
            before: order_by.at("before", before)?,
            size: Size::of(first, last)?,
        };
        let index = gateway.actions()?.index();
        // Only this looks at all.
        let is_counted = context.look_ahead().field("totalCount").exists();
        let total = is_counted.then(|| index.all(namespace, By::Name).filter(|action| fits(action)).count());
        Ok(page.cut(&index, namespace, fits).show(order_by, total.unwrap_or_default()))
    }
}

/// Which part of a list is asked for.
struct Page {
    order: ActionOrder,
    after: Option<Place>,
    before: Option<Place>,
    size: Size,
}

/// How many are asked for, and from which end.
enum Size {
    First(usize),
    Last(usize),
}

/// A part of a list.
struct Cut {
    actions: Vec<Arc<Resource>>,
    has_previous: bool,
    has_next: bool,
}

impl Cut {
    fn show(self, order: ActionOrder, total_count: usize) -> ActionConnection {
        let edge = |action: Arc<Resource>| ActionEdge {
            cursor: OpaqueCursor((order, order.by().place(&action))).encode_cursor(),
            node: Action(action),
        };
        let edges: Vec<ActionEdge> = self.actions.into_iter().map(edge).collect();
        let page_info = PageInfo {
            has_previous_page: self.has_previous,
            has_next_page: self.has_next,
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        ActionConnection { edges, page_info, total_count }
    }

    /// Turns it around.
    fn reversed(mut self) -> Self {
        self.actions.reverse();
        Self { actions: self.actions, has_previous: self.has_next, has_next: self.has_previous }
    }
}

impl Page {
    fn cut(self, index: &Index, namespace: &str, fits: impl Fn(&Resource) -> bool) -> Cut {
        if self.order == ActionOrder::NewestFirst {
            let size = match self.size {
                Size::First(count) => Size::Last(count),
                Size::Last(count) => Size::First(count),
            };
            let (order, after, before) = (ActionOrder::OldestFirst, self.before, self.after);
            return Self { order, after, before, size }.cut(index, namespace, fits).reversed();
        }
        let between = |low, high| {
            let found = index.between(namespace, self.order.by(), low, high);
            found.filter(|action| fits(action)).map(Arc::clone)
        };
        let (after, before) = (self.after.as_ref(), self.before.as_ref());
        let mut within =
            between(after.map_or(Unbounded, Bound::Excluded), before.map_or(Unbounded, Bound::Excluded));
        let mut cut = Cut {
            actions: Vec::new(),
            has_previous: after
                .is_some_and(|after| between(Unbounded, Bound::Included(after)).next().is_some()),
            has_next: before
                .is_some_and(|before| between(Bound::Included(before), Unbounded).next().is_some()),
        };
        match self.size {
            Size::First(count) => {
                cut.actions = within.by_ref().take(count).collect();
                cut.has_next |= within.next().is_some();
            }
            Size::Last(count) => {
                cut.actions = within.by_ref().rev().take(count).collect();
                cut.actions.reverse();
                cut.has_previous |= within.next_back().is_some();
            }
        }
        cut
    }
}

impl Size {
    fn of(first: Option<i32>, last: Option<i32>) -> Result<Self, GatewayError> {
        match (first, last) {
            (Some(_), Some(_)) => {
                Err(GatewayError::new(Code::BadUserInput, "give `first` or `last`, not both"))
            }
            (Some(first), None) => page_size("first", first).map(Self::First),
            (None, Some(last)) => page_size("last", last).map(Self::Last),
            (None, None) => Ok(Self::First(MOST / 2)),
        }
    }
}

/// Reads how many are asked for.
pub(super) fn page_size(name: &str, asked: i32) -> Result<usize, GatewayError> {
    match usize::try_from(asked) {
        Ok(count) if count <= MOST => Ok(count),
        Ok(_) => {
            let message = format!("`{name}` is at most {MOST}; read on page by page");
            Err(GatewayError::new(Code::LimitExceeded, message))
        }
        Err(_) => Err(GatewayError::new(Code::BadUserInput, format!("`{name}` is negative"))),
    }
}

impl ActionOrder {
    /// Reads a cursor.
    fn at(self, argument: &str, cursor: Option<String>) -> Result<Option<Place>, GatewayError> {
        let wrong = |why| {
            let message = format!("`{argument}` is {why}; begin anew, without it");
            GatewayError::new(Code::BadUserInput, message)
        };
        let Some(cursor) = cursor else { return Ok(None) };
        match Cursor::decode_cursor(&cursor) {
            Ok(OpaqueCursor((order, place))) if order == self => Ok(Some(place)),
            Ok(_) => Err(wrong("a cursor of another order")),
            Err(_) => Err(wrong("no cursor that was given out here")),
        }
    }

    fn by(self) -> By {
        match self {
            Self::NewestFirst | Self::OldestFirst => By::Age,
            Self::Name => By::Name,
        }
    }
}
