//! An order in time: what it waits for, what happened, and what a cancel would take back.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use workflows::{PaymentState, Step};

use super::labels::{self, Label};
use super::order::Picture;
use super::text::Text;
use super::views::{Event, StepState, Workflow, WorkflowState};
use super::visit::Visit;
use super::{board, format};

/// Whether a step keeps failing, or the workflow is paused.
pub(super) fn is_held_up(picture: &Picture) -> bool {
    let workflow = picture.workflow.as_ref().and_then(|workflow| workflow.as_ref().ok());
    workflow.is_some_and(|workflow| matches!(workflow.state, WorkflowState::BackingOff | WorkflowState::Paused))
}

/// What is being done, or waited for.
pub(super) fn now(visit: &Visit, picture: &Picture, now: DateTime<Utc>) -> Markup {
    let order = &picture.order;
    html! {
        @match &picture.workflow {
            Some(Ok(workflow)) => (state(visit, workflow, now)),
            Some(Err(told)) => p.hint { (told.detail) },
            None if order.status.is_final() => p { (visit.say(Text::IsCompleted)) },
            None => p { (order.status_label) },
        }
        @if let Some(deadline) = order.deadline {
            p.until {
                (board::deadline(visit, order.updated_at, deadline, now))
                @let (before, after) = Text::UntilDeadline.around(visit.language);
                span.hint { (before) (format::moment(deadline, now)) (after) }
            }
        }
    }
}

fn state(visit: &Visit, workflow: &Workflow, now: DateTime<Utc>) -> Markup {
    let language = visit.language;
    let said = match (workflow.state, workflow.gate, workflow.step) {
        (WorkflowState::Waiting, Some(gate), _) => Text::WaitsForGate.with(language, &[gate.label(language)]),
        (WorkflowState::BackingOff, _, Some(step)) => Text::IsBackingOff.with(language, &[step.label(language)]),
        (WorkflowState::Paused, ..) => visit.say(Text::IsPaused).to_owned(),
        (WorkflowState::Completed, ..) => visit.say(Text::IsCompleted).to_owned(),
        (WorkflowState::Unknown, ..) => visit.say(Text::IsUnknown).to_owned(),
        (WorkflowState::Running | WorkflowState::Waiting | WorkflowState::BackingOff, ..) => {
            visit.say(Text::IsRunning).to_owned()
        }
    };
    let failing = matches!(workflow.state, WorkflowState::BackingOff | WorkflowState::Paused);
    html! {
        p.now .failing[failing] { (said) }
        @if failing { (failure(visit, workflow, now)) }
        @if let Some(engine) = workflow.engine.as_ref().filter(|_| visit.is(workflows::Role::Operator)) {
            p { a href=(engine.link) rel="noreferrer" { (visit.say(Text::OpenInEngine)) } }
        }
    }
}

fn failure(visit: &Visit, workflow: &Workflow, now: DateTime<Utc>) -> Markup {
    html! {
        dl.facts {
            @if let Some(attempts) = workflow.attempt {
                dt { (visit.say(Text::Attempts)) }
                dd { (attempts) }
            }
            @if let Some(failure) = &workflow.last_failure {
                dt { (visit.say(Text::LastFailure)) }
                dd {
                    span.code { (failure) }
                    @if let Some(at) = workflow.last_failure_at { " " (format::since(at, now, visit.language)) }
                }
            }
            @if let Some(at) = workflow.next_try_at {
                dt { (visit.say(Text::NextTry)) }
                dd { (format::moment(at, now)) }
            }
        }
    }
}

/// What happened, the latest first.
pub(super) fn events(visit: &Visit, picture: &Picture, now: DateTime<Utc>) -> Markup {
    let mut told: Vec<Step> = Vec::new();
    let events = picture.events.items.iter().map(|event| {
        // What became of a step is said where it was taken.
        let first = !told.contains(&event.step);
        told.push(event.step);
        (event, first)
    });
    let mut events: Vec<_> = events.collect();
    events.reverse();
    html! {
        ol.timeline reversed {
            @for (event, first) in events { (self::event(visit, picture, event, first, now)) }
        }
    }
}

fn event(visit: &Visit, picture: &Picture, event: &Event, first: bool, now: DateTime<Utc>) -> Markup {
    let language = visit.language;
    let workflow = picture.workflow.as_ref().and_then(|workflow| workflow.as_ref().ok());
    let recorded = workflow.and_then(|workflow| workflow.steps.iter().find(|step| step.step == event.step));
    let recorded = recorded.filter(|_| first);
    let state = recorded.map(|recorded| recorded.state);
    html! {
        li id={ "event-" (event.number) } .undone[state == Some(StepState::Undone)] .refused[state == Some(StepState::Refused)] {
            p { b { (labels::event(&event.kind, language)) } " " (format::moment(event.at, now)) }
            p.hint {
                span.code { (event.step.name()) }
                @if let Some(by) = &event.by {
                    " · " (Text::ByRole.with(language, &[by.role.label(language)]))
                    @if let Some(subject) = &by.subject { " " (subject) }
                }
                @match (state, recorded.and_then(|recorded| recorded.undone_at)) {
                    (Some(StepState::Undone), Some(at)) => {
                        @let (before, after) = Text::UndoneAt.around(language);
                        " · " (before) (format::moment(at, now)) (after)
                    }
                    (Some(StepState::Undone), None) => { " · " (visit.say(Text::Undone)) }
                    (Some(StepState::Refused), _) => { " · " (visit.say(Text::Refused)) }
                    _ => {}
                }
            }
        }
    }
}

/// What a cancel would undo now, in order, as the lifecycle says that the order was placed under.
pub(super) fn undone_by_cancel(visit: &Visit, picture: &Picture) -> Markup {
    let order = &picture.order;
    let Some(preview) = &picture.preview else {
        return html! { p.hint { (visit.say(Text::CancelPreviewUnknown)) } };
    };
    let undoes = preview.cancellation.iter().find(|cancel| cancel.status == order.status).map(|cancel| &cancel.undoes);
    let happened = |undo: Step| {
        let steps = preview.steps.iter().filter(|planned| planned.undo == Some(undo));
        steps.into_iter().any(|planned| picture.events.items.iter().any(|event| event.step == planned.step))
    };
    html! {
        @match undoes {
            Some(undoes) if !undoes.is_empty() => {
                p { (visit.say(Text::CancelPreview)) }
                ol.undoes {
                    @for undo in undoes {
                        li .maybe[!happened(*undo)] {
                            b { (undo.label(visit.language)) } " " span.code { (undo.name()) }
                            @if gives_money_back(*undo) && order.payment.state == PaymentState::Approved {
                                " · " (Text::CancelMoneyBack.with(visit.language, &[&format::money(order.total)]))
                            }
                            @if !happened(*undo) { " · " (visit.say(Text::UndoneIfDone)) }
                        }
                    }
                }
            },
            Some(_) => p { (visit.say(Text::CancelPreviewNothing)) },
            None => p.hint { (visit.say(Text::CancelPreviewUnknown)) },
        }
    }
}

const fn gives_money_back(undo: Step) -> bool {
    matches!(undo, Step::PaymentRefund | Step::PaymentReturnDeposit)
}
