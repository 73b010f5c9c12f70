"""The pages of deployments: who sees what, what the forms do, and how the lists are cut."""

import json
from pathlib import Path

import pytest
from django.http import QueryDict
from django_scopes import scope

from deployments import actions
from deployments.models import Deployment, Stack, Status
from deployments.rows import PAGE_SIZE, Filters, progress
from deployments.tests.conftest import fresh

WORDS = json.loads((Path(__file__).parent / "words.json").read_text())
LIST = "/t/acme/deployments/"


def text(response) -> str:
    return response.content.decode()


def deploy(person, **values):
    data = {"stack": "web", "name": "web", "p_TITLE": "Acme", "p_PAGES": "3", "p_THEME": "dark"} | values
    return person.post(f"{LIST}new/", data)


def change(deployment: Deployment, **fields) -> Deployment:
    with scope(tenant=deployment.tenant):
        Deployment.objects.filter(pk=deployment.pk).update(**fields)
    return fresh(deployment)


def failed(deployment: Deployment) -> Deployment:
    at = deployment.created_at
    return change(deployment, status="failed", started_at=at, ended_at=at, reason="Step 1 ended with 3.", version=4)


# --- Deploying --------------------------------------------------------------------------------------------------------


def test_alice_deploys_and_lands_on_the_deployments_page(alice, stack):
    response = deploy(alice)
    assert (response.status_code, response["Location"]) == (302, f"{LIST}1/")
    page = text(alice.get(f"{LIST}1/"))
    assert "web #1" in page
    assert "1st in the queue" in page


def test_each_parameter_has_a_field_of_its_type(alice, stack):
    page = text(alice.get(f"{LIST}new/?stack=web"))
    assert 'name="p_PAGES"' in page
    assert 'inputmode="numeric"' in page
    assert '<option value="light" selected>' in page
    assert 'type="checkbox" name="p_DRAFTS"' in page
    assert 'type="password" name="p_TOKEN"' in page


def test_everything_that_is_wrong_is_said_at_once_and_what_was_typed_is_kept_but_secrets(alice, acme, stack):
    response = deploy(alice, p_TITLE="", p_PAGES="many", p_TOKEN="hush-hush-hush")
    page = text(response)
    assert response.status_code == 200
    assert 'href="#id_p_TITLE"' in page
    assert 'href="#id_p_PAGES"' in page
    assert 'value="many"' in page
    assert "hush-hush-hush" not in page
    assert "Nothing was deployed" in page
    with scope(tenant=acme):
        assert not Deployment.objects.exists()


def test_sending_the_form_twice_deploys_once(alice, acme, stack):
    first, second = deploy(alice, idempotency_key="k1"), deploy(alice, idempotency_key="k1")
    assert first["Location"] == second["Location"]
    with scope(tenant=acme):
        assert Deployment.objects.count() == 1


def test_the_same_key_for_something_else_is_a_conflict(alice, stack):
    deploy(alice, idempotency_key="k1")
    response = deploy(alice, idempotency_key="k1", p_TITLE="Other")
    assert response.status_code == 409
    assert "Idempotency-Key" in text(response)


def test_a_stack_that_is_not_offered_any_more_is_said_so(alice, stack):
    page = text(alice.post(f"{LIST}new/", {"stack": "gone"}))
    assert "Nothing was deployed" in page


def test_an_unapproved_stack_cannot_be_chosen(alice, stack):
    Stack.objects.create(slug="draft", name="Draft", steps=[{"name": "a", "command": ["true"]}])
    assert "Draft" not in text(alice.get(f"{LIST}new/"))


# --- Cancel and Retry -------------------------------------------------------------------------------------------------


def test_alice_cancels_what_waits(alice, acme_deployment):
    assert alice.post(f"{LIST}1/cancel/").status_code == 302
    assert fresh(acme_deployment).status == Status.CANCELLED


def test_cancelling_what_has_ended_says_so(alice, acme_deployment):
    failed(acme_deployment)
    response = alice.post(f"{LIST}1/cancel/")
    assert response.status_code == 409
    assert "already failed" in text(response)


def test_alice_retries_what_failed_as_she_saw_it(alice, acme_deployment):
    failed(acme_deployment)
    response = alice.post(f"{LIST}1/retry/", {"version": "4"})
    assert response["Location"] == f"{LIST}2/"
    assert "Tries again" in text(alice.get(f"{LIST}2/"))


def test_retrying_what_has_changed_shows_the_difference_and_does_nothing(alice, acme, acme_deployment):
    failed(acme_deployment)
    response = alice.post(f"{LIST}1/retry/", {"version": "3", "seen_status": "running"})
    assert response.status_code == 409
    page = text(response)
    assert 'data-testid="difference"' in page
    assert "Running" in page
    assert "Failed" in page
    with scope(tenant=acme):
        assert Deployment.objects.count() == 1


# --- Who sees what ----------------------------------------------------------------------------------------------------

ADMIN_ONLY = ["new/", "1/log/", "1/log/lines/", "1/log/search/?q=a"]


@pytest.mark.parametrize("path", ADMIN_ONLY)
def test_bob_is_told_which_role_it_needs_and_who_can_change_that(bob, alice, acme_deployment, path):
    response = bob.get(LIST + path)
    assert response.status_code == 403
    assert "Tenant admin" in text(response)
    assert "Alice" in text(response)


def test_bob_sees_status_and_steps_but_neither_log_nor_buttons(bob, acme_deployment):
    page = text(bob.get(f"{LIST}1/"))
    assert "1st in the queue" in page
    assert 'id="log"' not in page
    assert "Cancel</button>" not in page
    assert ">Deploy<" not in text(bob.get(LIST))


@pytest.mark.parametrize("path", ["", "new/", "1/", "1/log/", "1/log/lines/", "1/log/search/", "99/", "stacks/web/"])
def test_for_charlie_acmes_deployments_do_not_exist(charlie, acme_deployment, path):
    assert charlie.get(LIST + path).content == charlie.get("/nowhere/").content


@pytest.mark.parametrize("path", ["1/cancel/", "1/retry/", "1/rollback/"])
def test_charlie_and_bob_can_change_nothing(charlie, bob, acme_deployment, path):
    assert charlie.post(LIST + path).status_code == 404
    assert bob.post(LIST + path).status_code == 403
    assert fresh(acme_deployment).status == Status.QUEUED


@pytest.mark.parametrize("number", ["0", "2", "99999999999999999999"])
def test_a_number_never_given_is_the_one_page_for_what_does_not_exist(alice, acme_deployment, number):
    response = alice.get(f"{LIST}{number}/")
    assert response.status_code == 404
    assert response.content == alice.get("/nowhere/").content


def test_a_strangers_link_asks_to_sign_in_first(stranger, acme_deployment):
    assert stranger.get(f"{LIST}1/")["Location"] == f"/accounts/login/?next={LIST}1/"


def test_a_link_with_the_id_leads_to_the_number(alice, charlie, acme_deployment):
    assert alice.get(f"{LIST}{acme_deployment.pk}/")["Location"] == f"{LIST}1/"
    assert charlie.get(f"/t/globex/deployments/{acme_deployment.pk}/").status_code == 404


# --- The list ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(acme, alice, stack) -> list[Deployment]:
    made = []
    for number in range(1, PAGE_SIZE + 6):
        made.append(actions.request_deployment(acme, stack, {"TITLE": "Acme"}, by=alice.user))
        if number <= PAGE_SIZE + 2:
            failed(made[-1])
    return made


def numbers(response) -> list[int]:
    return [int(part.split('"')[0]) for part in text(response).split('data-number="')[1:]][:-1]  # last: the template


def test_a_page_of_the_list_holds_fifty_and_leads_to_the_others(alice, many):
    newest = alice.get(LIST)
    assert numbers(newest) == list(range(55, 5, -1))
    assert "?before=6" in text(newest)
    older = alice.get(f"{LIST}?before=6")
    assert numbers(older) == [5, 4, 3, 2, 1]
    assert "?after=5" in text(older)
    assert numbers(alice.get(f"{LIST}?after=5")) == list(range(55, 5, -1))


def test_rows_say_their_place_in_the_queue(alice, many):
    page = text(alice.get(f"{LIST}?status=active"))
    assert "1st in the queue" in page
    assert "3rd in the queue" in page


def test_filters_are_addresses(alice, many):
    assert numbers(alice.get(f"{LIST}?status=active")) == [55, 54, 53]
    assert numbers(alice.get(f"{LIST}?status=failed&before=3")) == [2, 1]
    assert numbers(alice.get(f"{LIST}?q=web+%2355")) == [55]
    assert numbers(alice.get(f"{LIST}?stack=other")) == []
    assert "No deployment matches" in text(alice.get(f"{LIST}?stack=other"))


def test_the_list_needs_as_many_queries_for_fifty_rows_as_for_one(alice, many, django_assert_max_num_queries):
    with django_assert_max_num_queries(10):  # the bell's included
        alice.get(LIST)


def test_the_detail_page_needs_few_queries(alice, many, django_assert_max_num_queries):
    with django_assert_max_num_queries(14):
        alice.get(f"{LIST}55/")


def test_home_shows_what_runs_and_how_the_last_ones_ended(alice, many):
    page = text(alice.get("/t/acme/"))
    assert page.count('data-status="queued"') == 3 + 3  # and the blank row of each of its lists
    assert page.count('data-status="failed"') == 8


def test_an_empty_home_offers_an_approved_stack(alice, stack):
    assert f"{LIST}new/?stack=web" in text(alice.get("/t/acme/"))


@pytest.mark.parametrize(("status", "data", "words"), WORDS)
def test_where_it_stands_is_said_in_the_words_that_the_page_uses(status, data, words):
    steps = [step | {"startedAt": None} for step in data["steps"]]
    deployment = Deployment(
        status=status, reason=data["reason"], steps=steps, cancel_requested_at=data["cancelRequestedAt"]
    )
    assert progress(deployment, data.get("queuePosition")) == words


def test_the_list_offers_no_stack_as_a_filter_that_this_tenant_never_deployed(alice, acme_deployment):
    Stack.objects.create(slug="secret-project", name="Not approved", steps=[{"name": "a", "command": ["true"]}])
    page = alice.get("/t/acme/deployments/").content.decode()
    assert f'value="{acme_deployment.release.stack.slug}"' in page
    assert "secret-project" not in page


def test_unknown_filters_count_as_not_given():
    assert Filters.of(QueryDict("status=nonsense")) == Filters()


def test_jumping_finds_pages_stacks_and_deployments_by_name(alice, acme_deployment):
    page = text(alice.get("/t/acme/jump/?q=web"))
    assert "/t/acme/deployments/new/?stack=web" in page
    assert "web #1" in page
    assert "Nothing has this name" in text(alice.get("/t/acme/jump/?q=nonsense"))


def test_jumping_offers_bob_nothing_his_role_may_not_open(bob, acme_deployment):
    page = text(bob.get("/t/acme/jump/"))
    assert "web #1" in page
    assert "/deployments/new/" not in page
