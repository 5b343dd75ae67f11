/** A plan to start from, for those who have none at hand. */
export const EXAMPLE_PLAN = `# Weekly support digest

An agent that reads the week's support tickets every Friday and posts a digest that the product team can act on: what
hurts most, what is new, and who is waiting.

## Why

Support answers about 400 tickets a week. The product team reads perhaps twenty of them. Patterns show up in a
spreadsheet a month later, when the customers who saw them first have stopped writing.

> A good digest is one that people would miss if it did not come.

## What the agent does

1. Collects all tickets that were opened or answered since the last digest.
2. Groups them by what the customer was trying to do, not by the words they used.
3. Ranks the groups by the number of customers, weighted by how long they waited.
4. Writes the digest, with a link to three typical tickets for each group.
5. Posts it to \`#product-weekly\` and waits for reactions.

### What it must not do

- Quote a customer's name, address or payment details.
- Answer a ticket, or change one.
- Post more than once a week, even when it is asked to.

## Inputs and outputs

| Source | What is read | How often | Owner |
| --- | --- | --- | --- |
| Help desk | tickets, tags, first response times | Fridays, 14:00 | Support |
| Billing | the plan of each customer | Fridays, 14:00 | Finance |
| Release notes | what was shipped this week | Fridays, 14:00 | Product |
| \`#product-weekly\` | reactions to the last digest | on posting | Product |

The digest is a single message:

\`\`\`markdown
*Support digest, week 47*: 412 tickets, 31 fewer than last week

1. *Export stops at 10,000 rows* (38 customers, median wait 19 h, new)
2. *Invoices show the old address* (21 customers, median wait 6 h)
\`\`\`

## How it groups

Tickets are embedded and clustered, and each cluster is named by a language model that sees ten of its tickets. A
cluster that resembles one of the last eight weeks keeps its name, so that trends stay visible.

\`\`\`python
def weight(ticket: Ticket) -> float:
    """Customers who wait long count for more, up to three times."""
    return min(3.0, 1.0 + ticket.waited.total_seconds() / 86_400)
\`\`\`

## Milestones

- [x] Agree on the format with Product
- [x] Read access to the help desk's API
- [ ] Dry runs for three weeks, read by two people from Support
- [ ] Go live, with the kill switch at hand

## Risks

**Personal data.** Names and addresses are removed before anything reaches the language model. Twenty digests are
checked by hand before the first one is posted.

**A quiet failure.** If fewer than half of the usual tickets arrive, the agent posts that it could not do its work
instead of a digest that looks complete.

## Done when

The product team has decided something because of the digest in three of four weeks, and would rather not be without it.
`;
