"""What a reason code means, in the words of someone who asks why an offer was not shown."""

from domain.outcome import Reason

MEANING = {
    Reason.WON: "shown",
    Reason.BELOW_FLOOR: "its eCPM was below the reserve",
    Reason.OUTBID: "others had a higher eCPM",
    Reason.ADVERTISER_EXCLUSION: "another offer of this advertiser was placed ahead",
    Reason.BUDGET: "no room left in the campaign's budget for this price",
    Reason.FREQUENCY_CAP: "the shopper has seen this campaign often enough today",
    Reason.TARGETING: "the campaign does not target this shopper or purchase",
    Reason.SCHEDULE: "before the campaign's start or after its end",
    Reason.BUDGET_UNKNOWN: "budgets could not be read, so budgeted offers were not sold",
    Reason.NOT_EXPLORED: "the page was drawn at random, and this offer was not drawn",
}
