"""What a reason code means, in the words of someone who asks why an offer was not shown."""

from domain.outcome import Reason

MEANING = {
    Reason.WON: "shown",
    Reason.BELOW_FLOOR: "eCPM below the reserve",
    Reason.OUTBID: "others had a higher eCPM",
    Reason.ADVERTISER_EXCLUSION: "another offer of its advertiser is ahead",
    Reason.BUDGET: "no room in the campaign's budget",
    Reason.FREQUENCY_CAP: "shown to this shopper often enough today",
    Reason.TARGETING: "not meant for this shopper or purchase",
    Reason.SCHEDULE: "the campaign does not run now",
    Reason.BUDGET_UNKNOWN: "budgets could not be read",
    Reason.NOT_EXPLORED: "the page was drawn at random, without it",
    Reason.CATEGORY_EXCLUSION: "one of its categories is blocked",
    Reason.BLOCKED: "it, or its advertiser, is blocked",
    Reason.COMPETITOR: "a rival is on the page",
    Reason.OUTRANKED: "higher tiers took all its places",
    Reason.DAY_PART: "not at this hour of the week",
}
