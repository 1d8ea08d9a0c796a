//! `genflow budget`: prints what is spent and reserved on the budget of a user, or of all users.

use std::io::Write;

use clap::builder::styling::Style;
use serde_json::{Value, json};

use super::Error;
use super::table::{BAD, Cell, Column, Table};
use super::temporal::{PATIENCE, connect, within};
use crate::domain::UserId;
use crate::domain::budget::{Micros, Statement, Usage};
use crate::domain::time::rfc3339;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::temporal::budgets::Holder;

/// `genflow budget`.
#[derive(Debug, clap::Args)]
pub struct Budget {
    /// User id [default: the budget of all users]
    pub user: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn show(
    config: &Config,
    budget: &Budget,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let user = budget.user.clone().map(UserId::try_from).transpose();
    let user = user.map_err(|error| Error::Usage(format!("the user id {error}")))?;
    let budgets = config.worker.spending.budgets;
    let (holder, limits) = match &user {
        Some(user) => (Holder::of(user.as_str()), budgets.user),
        None => (Holder::All, budgets.all),
    };
    let server = &config.temporal;
    let temporal = connect(server).await?;
    let at = now();
    let statement = within(PATIENCE, server, temporal.statement(&holder, at)).await?;
    // Without an account nothing was reserved in this month, so this process's own limits are all there is to report.
    let statement = statement.unwrap_or_else(|| Statement::unused(limits, at));
    if budget.json {
        writeln!(out, "{}", as_json(&statement))?;
    } else {
        print(&statement, out)?;
    }
    Ok(0)
}

/// Prints a row for the day and one for the month, and the number of runs whose cost is not settled.
fn print(statement: &Statement, out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new([
        Column::Left("period"),
        Column::Right("spent USD"),
        Column::Right("reserved"),
        Column::Right("limit"),
        Column::Left("until"),
    ]);
    for (period, usage) in [("day", statement.day), ("month", statement.month)] {
        let limit = usage.limit.map_or_else(|| "none".to_owned(), usd);
        // Nothing more is accepted once both together reach the limit.
        let is_full = usage
            .limit
            .is_some_and(|limit| usage.spent.usd() + usage.reserved.usd() >= limit.usd());
        let style = if is_full { BAD } else { Style::new() };
        table.row([
            Cell::from(period),
            Cell::from(usd(usage.spent)).styled(style),
            Cell::from(usd(usage.reserved)),
            Cell::from(limit),
            Cell::from(rfc3339(usage.frees_at)),
        ]);
    }
    table.print(out)?;
    writeln!(out, "{} runs are not settled", statement.open)
}

fn usd(amount: Micros) -> String {
    format!("{:.4}", amount.usd())
}

fn as_json(statement: &Statement) -> Value {
    let usage = |usage: Usage| {
        json!({
            "spent_usd": usage.spent.usd(),
            "reserved_usd": usage.reserved.usd(),
            "limit_usd": usage.limit.map(Micros::usd),
            "frees_at": rfc3339(usage.frees_at),
        })
    };
    json!({"day": usage(statement.day), "month": usage(statement.month), "open_runs": statement.open})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::Limits;
    use crate::operate::cli::table::without_colors;

    #[test]
    fn a_budget_is_two_rows_or_one_object() {
        let limits = Limits {
            day: Some(Micros::of_usd(2.5)),
            month: None,
        };
        let statement = Statement::unused(limits, 1_700_000_000_000);
        assert_eq!(
            without_colors(|out| print(&statement, out).unwrap()),
            "period  spent USD  reserved   limit  until\n\
             day        0.0000    0.0000  2.5000  2023-11-15T00:00:00.000Z\n\
             month      0.0000    0.0000    none  2023-12-01T00:00:00.000Z\n\
             0 runs are not settled\n"
        );
        assert_eq!(
            as_json(&statement)["day"],
            json!({"spent_usd": 0.0, "reserved_usd": 0.0, "limit_usd": 2.5, "frees_at": "2023-11-15T00:00:00.000Z"})
        );
    }
}
