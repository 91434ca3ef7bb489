//! Lists by pages, as Relay reads them.

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

/// A place in an order. It stays where it is, whatever is created or deleted beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Place(i64, String);

impl Place {
    fn key(&self) -> (i64, &str) {
        (self.0, &self.1)
    }
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
        let found = gateway.list(namespace, filter.unwrap_or_default())?;
        let size = Size::of(first, last)?;
        let page = Page {
            order: order_by,
            after: order_by.at("after", after)?,
            before: order_by.at("before", before)?,
            size,
        };
        Ok(page.cut(found).show(order_by))
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
    total: usize,
    has_previous: bool,
    has_next: bool,
}

impl Cut {
    fn show(self, order: ActionOrder) -> ActionConnection {
        let edge = |action: Arc<Resource>| ActionEdge {
            cursor: OpaqueCursor((order, order.place(&action))).encode_cursor(),
            node: Action(action),
        };
        let edges: Vec<ActionEdge> = self.actions.into_iter().map(edge).collect();
        let page_info = PageInfo {
            has_previous_page: self.has_previous,
            has_next_page: self.has_next,
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        ActionConnection { edges, page_info, total_count: self.total }
    }
}

impl Page {
    fn cut(self, mut actions: Vec<Arc<Resource>>) -> Cut {
        let (total, order) = (actions.len(), self.order);
        let (mut has_previous, mut has_next) = (false, false);
        actions.retain(|action| {
            let key = order.key(action);
            let is_before = self.after.as_ref().is_some_and(|after| key <= after.key());
            let is_behind = self.before.as_ref().is_some_and(|before| key >= before.key());
            has_previous |= is_before;
            has_next |= is_behind;
            !is_before && !is_behind
        });
        let by_key = |one: &Arc<Resource>, other: &Arc<Resource>| order.key(one).cmp(&order.key(other));
        // What is not shown need not be sorted.
        match self.size {
            Size::First(count) if count < actions.len() => {
                actions.select_nth_unstable_by(count, by_key);
                actions.truncate(count);
                has_next = true;
            }
            Size::Last(count) if count < actions.len() => {
                let surplus = actions.len() - count;
                actions.select_nth_unstable_by(surplus - 1, by_key);
                actions.drain(..surplus);
                has_previous = true;
            }
            Size::First(_) | Size::Last(_) => {}
        }
        actions.sort_unstable_by(by_key);
        Cut { actions, total, has_previous, has_next }
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

    fn place(self, action: &Resource) -> Place {
        let (rank, name) = self.key(action);
        Place(rank, name.to_owned())
    }

    /// Says where an Action stands: those of one rank stand by name.
    fn key(self, action: &Resource) -> (i64, &str) {
        let created = action.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
        let rank = match self {
            Self::NewestFirst => -created,
            Self::OldestFirst => created,
            Self::Name => 0,
        };
        (rank, action.metadata.name.as_deref().unwrap_or_default())
    }
}
