"""Bugs that peers have had, each by the name of the truth it broke. Some truths have their test beside the code:

- a refresh that comes late does not undo a consent: `test_law_02_a_late_refresh_never_overwrites_a_newer_consent`
- a consent is not thrown away for a refresh: `test_a_consent_outranks_a_refresh_that_came_while_it_was_sealed`
- a late failure does not mark a fresh grant dead: `test_law_02_a_late_failure_never_marks_a_newer_consent`
- `invalid_client` blames no connection: `test_law_04_an_operators_failure_holds_the_config_and_blames_nobody`
- a refresh that names no lifetime: `test_without_a_sensible_lifetime_the_declared_one_counts`
- an unchanged token is no refresh: `test_an_unchanged_token_without_a_lifetime_gets_no_new_one`
- a second secret is tried where the client was refused, and there alone:
  `test_the_previous_client_secret_is_tried_on_no_other_answer`
- a valid token is served while refreshing fails, over HTTP: `test_law_05_it_is_served_while_refreshing_fails`
"""

from tests.activities.conftest import catalog, stage, together

__all__ = ["catalog", "stage", "together"]
