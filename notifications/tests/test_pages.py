"""The inbox and the notices as pages: without their scripts, they are forms."""

import re
from uuid import UUID

import pytest
from django.apps import apps

from events.models import Event
from notifications import actions
from notifications.models import Notice
from notifications.tests.conftest import inbox, titles
from tenants.models import Membership, Role

URL = "/notifications/"
CHANGE = "/notifications/change/"


def shown(person, query="") -> list[str]:
    response = person.get(URL + query)
    assert response.status_code == 200
    rows = response.content.decode().partition("<template data-live-template")[0]
    return re.findall(r"data-row-link>([^<]+)</a>", rows)


def bell(person, url="/notifications/") -> tuple[str, str]:
    """What the bell says: its label and its count."""
    found = re.search(
        r'id="bell".*?aria-label="([^"]*)".*?data-field="count"[^>]*>([^<]*)<', person.get(url).content.decode()
    )
    return found[1], found[2]


# --- The inbox --------------------------------------------------------------------------------------------------------


def test_each_row_names_its_tenant_and_leads_to_its_object(bob, acme, tell):
    tell(bob, "web #1 failed", tenant=acme, link="/t/acme/deployments/1/", level="error")
    page = bob.get(URL).content.decode()
    assert 'href="/t/acme/deployments/1/"' in page
    assert "Acme" in page
    assert "Error" in page


def test_what_speaks_of_the_same_stands_together_where_its_newest_stands(bob, tell):
    for title, group in (("web 1", "web"), ("api 1", "api"), ("web 2", "web"), ("api 2", "api"), ("other", "x")):
        tell(bob, title, group_key=group)
    assert shown(bob) == ["other", "api 2", "api 1", "web 2", "web 1"]


def test_filters_and_pages(bob, acme, globex, tell):
    Membership.objects.create(tenant=globex, user=bob.user, role=Role.TENANT_USER)
    for number in range(52):
        tell(bob, f"{number}", tenant=acme)
    tell(bob, "of globex", tenant=globex)
    assert shown(bob, "?tenant=globex") == ["of globex"]
    first = shown(bob, "?tenant=acme")
    assert (first[0], first[-1], len(first)) == ("51", "2", 50)
    older = re.search(r'rel="next" href="([^"]+)"', bob.get(f"{URL}?tenant=acme").content.decode())[1]
    assert shown(bob, older.replace("&amp;", "&")) == ["1", "0"]
    actions.mark_all_read(bob.user, tenant="acme")
    assert shown(bob, "?show=unread") == ["of globex"]
    assert "Nothing unread." in bob.get(f"{URL}?show=unread&tenant=acme").content.decode()
    assert shown(bob, "?tenant=never-used&before=nonsense&after=-1") == []


def test_without_javascript_reading_removing_and_undoing_are_forms(bob, tell):
    one = tell(bob, "one")
    answer = bob.post(CHANGE, {"do": "remove", "id": str(one.id), "show": "unread"})
    assert answer["Location"] == f"{URL}?show=unread"
    page = bob.get(answer["Location"]).content.decode()
    assert "Removed: 1 notification." in page
    assert titles(bob) == []
    assert 'name="do" value="restore"' in page
    bob.post(CHANGE, {"do": "restore", "id": str(one.id)})
    bob.post(CHANGE, {"do": "read", "id": str(one.id)})
    assert inbox(bob).unread == 0
    bob.post(CHANGE, {"do": "mark_unread", "id": [str(one.id), "nonsense"]})
    assert inbox(bob).unread == 1


def test_the_archive_is_a_list_of_its_own_and_putting_away_can_be_undone(bob, tell):
    one = tell(bob, "one")
    tell(bob, "other")
    page = bob.post(CHANGE, {"do": "archive", "id": str(one.id)}, follow=True).content.decode()
    assert "Put into the archive: 1 notification." in page
    assert 'name="do" value="unarchive"' in page
    assert shown(bob) == shown(bob, "?show=unread") == ["other"]
    assert shown(bob, "?show=archive") == ["one"]
    assert bell(bob)[1] == "1"
    bob.post(CHANGE, {"do": "unarchive", "id": str(one.id), "show": "archive"})
    assert shown(bob) == ["other", "one"]
    assert "The archive is empty." in bob.get(f"{URL}?show=archive").content.decode()


def test_filters_by_what_it_is_about_and_how_loud_it_is(bob, tell):
    tell(bob, "Invoice 7 failed", kind="invoice_failed", level="error")
    tell(bob, "Invoice 8", kind="invoice_created")
    tell(bob, "web failed", kind="deployment_failed", level="error")
    assert shown(bob, "?about=billing") == ["Invoice 8", "Invoice 7 failed"]
    assert shown(bob, "?about=billing&level=error") == ["Invoice 7 failed"]
    assert len(shown(bob, "?about=nonsense&level=nonsense&show=nonsense")) == 3
    bob.post(CHANGE, {"do": "read_all", "about": "billing", "level": "error"})
    assert shown(bob, "?show=unread") == ["web failed", "Invoice 8"]


def test_a_row_whose_cause_is_over_says_what_ended_it(bob, tell):
    tell(bob, "web #1 failed", cause_key="web", cause_order=1)
    actions.solve("web", order=2, by="web #2 is done")
    assert '<span data-field="solvedBy">web #2 is done</span>' in bob.get(URL).content.decode()


def test_mark_all_read_leaves_what_came_after_the_page_and_can_be_undone(bob, tell):
    tell(bob, "seen")
    version = re.search(r'name="up_to" value="(\d+)"', bob.get(URL).content.decode())[1]
    tell(bob, "came later")
    bob.post(CHANGE, {"do": "read_all", "up_to": version})
    assert inbox(bob).unread == 1
    page = bob.get(URL).content.decode()
    assert "Marked as read: 1 notification." in page
    assert "Marked as read" not in bob.get(URL).content.decode()  # it is offered once


def test_the_bell_stands_on_every_page_and_counts_to_99(bob, acme, tell):
    assert bell(bob) == ("Notifications", "")
    for number in range(100):
        tell(bob, f"{number}", tenant=acme)
    for url in (URL, "/t/acme/", "/t/acme/deployments/", "/t/acme/notices/", "/t/acme/notices/new/"):
        assert bell(bob, url) == ("Notifications, 100 unread", "99+")


def test_a_platform_admin_without_a_tenant_has_an_inbox_too(platform_admin, tell):
    tell(platform_admin, "You are a platform admin now", link="/ops/")
    assert shown(platform_admin) == ["You are a platform admin now"]
    assert bell(platform_admin, "/ops/")[1] == "1"


def test_the_jump_dialog_and_the_keys_know_the_inbox(bob):
    page = bob.get("/t/acme/jump/?q=notif").content.decode()
    assert 'href="/notifications/"' in page
    assert 'data-key="g n"' in page


def test_a_full_page_costs_as_many_queries_as_an_empty_one(bob, acme, globex, tell, django_assert_num_queries):
    bob.get(URL)
    with django_assert_num_queries(7):  # session, person, policies, memberships, bell, rows, tenants
        bob.get(URL)
    for number in range(60):
        tell(bob, f"{number}", tenant=acme)
    with django_assert_num_queries(7):
        bob.get(URL)


# --- Notices ----------------------------------------------------------------------------------------------------------

NOTICE_ID = "01900000-0000-7000-8000-0000000000f1"
WORDS = {"title": "Maintenance", "message": "At 22:00 UTC.", "level": "warning", "notice_id": NOTICE_ID}


def sent() -> list[tuple[str, str]]:
    return list(Notice.objects.with_scopes_disabled().values_list("title", "sender_name"))


def test_bob_tells_everybody_in_his_tenant_something(bob, alice, acme, handle):
    answer = bob.post("/t/acme/notices/new/", WORDS)
    assert answer["Location"] == "/t/acme/notices/"
    assert sent() == [("Maintenance", "Bob")]
    page = alice.get("/t/acme/notices/").content.decode()
    assert "At 22:00 UTC." in page
    assert "Warning" in page
    handle()
    assert shown(alice) == ["Maintenance"]


def test_sending_the_form_twice_sends_it_once(bob):
    for _ in range(2):
        assert bob.post("/t/acme/notices/new/", WORDS)["Location"] == "/t/acme/notices/"
    assert sent() == [("Maintenance", "Bob")]
    assert Event.objects.with_scopes_disabled().filter(type="tenant_notice").count() == 1


@pytest.mark.parametrize("wrong", [{"title": ""}, {"title": "x" * 151}, {"level": "shout"}, {"message": "x" * 2001}])
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_sent(bob, wrong):
    page = bob.post("/t/acme/notices/new/", WORDS | wrong).content.decode()
    assert "Nothing was sent." in page
    assert f'href="#id_{next(iter(wrong))}"' in page
    assert sent() == []


def test_an_id_that_another_tenant_used_is_no_way_to_send_nothing(bob, charlie, globex):
    charlie.post("/t/globex/notices/new/", WORDS)
    page = bob.post("/t/acme/notices/new/", WORDS).content.decode()
    assert "sent before" in page
    assert sent() == [("Maintenance", "Charlie")]


def test_whoever_the_policies_do_not_let_publish_is_offered_no_form(bob, alice):
    apps.get_model("realtime", "ChannelPolicy").objects.filter(role="tenant_user", action="publish").delete()
    assert "Send a notice" not in bob.get("/t/acme/notices/").content.decode()
    assert bob.get("/t/acme/notices/new/").status_code == 403
    assert bob.post("/t/acme/notices/new/", WORDS).status_code == 403
    assert "Send a notice" in alice.get("/t/acme/notices/").content.decode()
    assert sent() == []


def test_the_form_and_the_api_share_one_limit_of_notices_a_second(bob, acme, settings):
    settings.PUBLISHED_PER_SECOND = settings.PUBLISHED_PER_SECOND | {"notifications": 1}
    pages = [bob.post("/t/acme/notices/new/", WORDS | {"notice_id": str(UUID(int=n))}) for n in range(1, 4)]
    assert any("limit of a company" in page.content.decode() for page in pages)
