//! A client of server-sent events as small as a pipeline's.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{Engine, Person};

/// What came on a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An answer.
    Next(Value),
    /// There are no more answers.
    Complete,
    /// A sign of life.
    Comment,
}

/// A stream of answers.
pub struct Events {
    response: reqwest::Response,
    read: String,
    parsed: VecDeque<Event>,
}

impl Engine {
    /// Starts an operation whose answers come as events, in the namespace `default`.
    pub async fn events(&self, query: &str, variables: Value) -> Events {
        self.events_by(None, query, variables).await
    }

    /// Starts an operation as somebody, whose answers come as events, in the namespace `default`.
    pub async fn events_by(&self, person: Option<&Person>, query: &str, variables: Value) -> Events {
        let mut request = reqwest::Client::new().post(format!("{}/graphql", self.url));
        if let Some(person) = person {
            request = request.header("authorization", &person.authorization);
        }
        let request = request.header("accept", "text/event-stream");
        let response = request.json(&json!({"query": query, "variables": variables})).send().await.unwrap();
        Events::new(response)
    }
}

impl Events {
    /// Reads a response that is one.
    pub fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new(), parsed: VecDeque::new() }
    }

    /// Waits for the next event; nothing comes after the end of the response.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.parsed.pop_front() {
                return Some(event);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = self.read.find("\n\n") {
                self.parsed.push_back(parse(&self.read[..end]));
                self.read.drain(..end + 2);
            }
        }
    }

    /// Waits for the data of the next answer, past signs of life.
    pub async fn data(&mut self) -> Value {
        loop {
            match self.next().await.expect("another answer") {
                Event::Next(answer) => {
                    assert!(answer["errors"].is_null(), "{answer}");
                    return answer["data"].clone();
                }
                Event::Comment => {}
                Event::Complete => panic!("there are no more answers"),
            }
        }
    }
}

fn parse(text: &str) -> Event {
    if text.starts_with(':') {
        return Event::Comment;
    }
    let (event, data) = text.split_once('\n').unwrap();
    let data = data.strip_prefix("data:").unwrap().trim_start();
    match event {
        "event: next" => Event::Next(serde_json::from_str(data).unwrap()),
        "event: complete" => {
            assert_eq!(data, "");
            Event::Complete
        }
        other => panic!("{other}"),
    }
}
