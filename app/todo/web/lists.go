package web

import (
	"errors"
	"fmt"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/halinux/halinux/app/todo/store"
)

// What titles and notes may be, in characters.
const titleMost, notesMost = 200, 10_000

func (a *App) lists(c *call) error {
	lists, err := a.Store.Lists(c.Context(), c.User.ID, c.pageOf())
	if err != nil {
		return err
	}
	return c.ok("lists", c.Locale.T("lists.title"), listsBody{Lists: lists, Pages: c.pages("/lists", lists.Page, lists.Pages)})
}

type listsBody struct {
	Lists store.Paged[store.List]
	Pages pages
	New   string // the title of a list that was not made
}

// pages are the links to other parts of many rows.
type pages struct {
	Page, Pages    int
	Previous, Next string // addresses; empty at the ends
}

func (c *call) pages(path string, page, of int) pages {
	p := pages{Page: page, Pages: of}
	to := func(n int) string {
		query := url.Values{}
		if q := c.FormValue("q"); q != "" {
			query.Set("q", q)
		}
		query.Set("page", fmt.Sprint(n))
		return path + "?" + query.Encode()
	}
	if page > 1 {
		p.Previous = to(page - 1)
	}
	if page < of {
		p.Next = to(page + 1)
	}
	return p
}

func (c *call) titleProblems(title string) []problem {
	if title == "" {
		return []problem{{"title", c.Locale.T("problem.title_missing")}}
	}
	if utf8.RuneCountInString(title) > titleMost {
		return []problem{{"title", c.Locale.T("problem.title_long", "Most", titleMost)}}
	}
	return nil
}

func (a *App) createList(c *call) error {
	title := c.line("title")
	if wrong := c.titleProblems(title); wrong != nil {
		lists, err := a.Store.Lists(c.Context(), c.User.ID, c.pageOf())
		if err != nil {
			return err
		}
		return c.invalid("lists", c.Locale.T("lists.title"), listsBody{lists, c.pages("/lists", lists.Page, lists.Pages), title}, wrong)
	}
	list, err := a.Store.CreateList(c.Context(), c.User.ID, store.List{ID: c.newID(), Title: title})
	if err != nil {
		return err
	}
	c.notice("notice.list_created")
	return c.redirect("/lists/" + list.ID)
}

type listBody struct {
	List  store.List
	Items store.Paged[store.Item]
	Pages pages
	New   store.Item // an item that was not made
}

func (a *App) listBody(c *call, new store.Item) (listBody, error) {
	list, err := a.Store.List(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return listBody{}, err
	}
	items, err := a.Store.Items(c.Context(), c.User.ID, list.ID, c.pageOf())
	return listBody{list, items, c.pages("/lists/"+list.ID, items.Page, items.Pages), new}, err
}

func (a *App) list(c *call) error {
	body, err := a.listBody(c, store.Item{})
	if err != nil {
		return err
	}
	return c.ok("list", body.List.Title, body)
}

// listForm is a list being edited.
type listForm struct {
	List   store.List
	Stored *store.List // what somebody else wrote meanwhile
}

func (a *App) editList(c *call) error {
	list, err := a.Store.List(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.ok("list-edit", c.Locale.T("list_edit.title", "Title", list.Title), listForm{List: list})
}

func (a *App) updateList(c *call) error {
	version, err := c.version()
	if err != nil {
		return err
	}
	list := store.List{ID: c.PathValue("id"), Title: c.line("title"), Version: version}
	title := c.Locale.T("list_edit.title", "Title", list.Title)
	if wrong := c.titleProblems(list.Title); wrong != nil {
		return c.invalid("list-edit", title, listForm{List: list}, wrong)
	}
	err = a.Store.UpdateList(c.Context(), c.User.ID, list)
	var conflict *store.Conflict[store.List]
	if errors.As(err, &conflict) {
		// The next attempt is meant to replace what is stored now.
		list.Version = conflict.Stored.Version
		return c.render(409, view{Page: "list-edit", Title: c.Locale.T("conflict.title"), Body: listForm{list, &conflict.Stored}})
	}
	if err != nil {
		return err
	}
	c.notice("notice.list_renamed")
	return c.redirect("/lists/" + list.ID)
}

func (a *App) deleteList(c *call) error {
	orphans, err := a.Store.DeleteList(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return err
	}
	a.removeFiles(c, orphans)
	c.notice("notice.list_deleted")
	return c.redirect("/lists")
}

// version is the version of what a form was filled in from.
func (c *call) version() (v int64, err error) {
	if _, err := fmt.Sscan(c.FormValue("version"), &v); err != nil {
		return 0, fmt.Errorf("%w: the form has no version", store.ErrNotFound)
	}
	return v, nil
}

// itemForm is the item that a form has.
func (c *call) itemForm() (i store.Item, wrong []problem) {
	i = store.Item{Title: c.line("title"), Notes: c.text("notes"), Due: c.line("due"), Done: c.FormValue("done") != ""}
	wrong = c.titleProblems(i.Title)
	if utf8.RuneCountInString(i.Notes) > notesMost {
		wrong = append(wrong, problem{"notes", c.Locale.T("problem.notes_long", "Most", notesMost)})
	}
	if _, err := time.Parse(time.DateOnly, i.Due); i.Due != "" && err != nil {
		wrong = append(wrong, problem{"due", c.Locale.T("problem.due")})
	}
	return i, wrong
}

func (a *App) createItem(c *call) error {
	item, wrong := c.itemForm()
	if wrong != nil {
		body, err := a.listBody(c, item)
		if err != nil {
			return err
		}
		return c.invalid("list", body.List.Title, body, wrong)
	}
	item.ID, item.List = c.newID(), c.PathValue("id")
	item, err := a.Store.CreateItem(c.Context(), c.User.ID, item)
	if err != nil {
		return err
	}
	c.notice("notice.item_created")
	return c.redirect("/lists/" + item.List)
}

// itemBody is an item being looked at and edited.
type itemBody struct {
	Item        store.Item
	Attachments []store.Attachment
	Stored      *store.Item // what somebody else wrote meanwhile
	Gone        bool        // somebody else deleted it meanwhile
	Limit       int64       // of a file, in bytes
}

func (a *App) itemBody(c *call) (b itemBody, err error) {
	b.Limit = a.Files.Limit()
	if b.Item, err = a.Store.Item(c.Context(), c.User.ID, c.PathValue("id")); err != nil {
		return b, err
	}
	b.Attachments, err = a.Store.Attachments(c.Context(), c.User.ID, b.Item.ID)
	return b, err
}

func (a *App) item(c *call) error {
	body, err := a.itemBody(c)
	if err != nil {
		return err
	}
	return c.ok("item", body.Item.Title, body)
}

func (a *App) updateItem(c *call) error {
	version, err := c.version()
	if err != nil {
		return err
	}
	item, wrong := c.itemForm()
	item.ID, item.List, item.Version = c.PathValue("id"), c.FormValue("list"), version
	if wrong != nil {
		body, err := a.itemBody(c)
		if err != nil {
			return err
		}
		title := body.Item.Title
		item.ListTitle, item.Updated = body.Item.ListTitle, body.Item.Updated
		body.Item = item
		return c.invalid("item", title, body, wrong)
	}
	err = a.Store.UpdateItem(c.Context(), c.User.ID, item)
	var conflict *store.Conflict[store.Item]
	switch {
	case errors.As(err, &conflict):
		// The next attempt is meant to replace what is stored now.
		item.Version = conflict.Stored.Version
		item.List, item.ListTitle = conflict.Stored.List, conflict.Stored.ListTitle
		return c.render(409, view{Page: "conflict", Title: c.Locale.T("conflict.title"), Body: itemBody{Item: item, Stored: &conflict.Stored}})
	case errors.Is(err, store.ErrNotFound):
		list, err := a.Store.List(c.Context(), c.User.ID, item.List)
		if err != nil {
			return err
		}
		item.ListTitle = list.Title
		return c.render(409, view{Page: "conflict", Title: c.Locale.T("conflict.gone"), Body: itemBody{Item: item, Gone: true}})
	case err != nil:
		return err
	}
	c.notice("notice.item_saved")
	return c.redirect("/lists/" + item.List)
}

func (a *App) setDone(c *call) error {
	done := c.FormValue("done") != ""
	if err := a.Store.SetDone(c.Context(), c.User.ID, c.PathValue("id"), done); err != nil {
		return err
	}
	c.notice(map[bool]string{true: "notice.item_done", false: "notice.item_open"}[done])
	return c.redirect(localPath(c.FormValue("next"), "/lists"))
}

func (a *App) confirmDeleteItem(c *call) error {
	body, err := a.itemBody(c)
	if err != nil {
		return err
	}
	return c.ok("item-delete", c.Locale.T("item_delete.title"), body)
}

func (a *App) deleteItem(c *call) error {
	orphans, err := a.Store.DeleteItem(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return err
	}
	a.removeFiles(c, orphans)
	c.notice("notice.item_deleted")
	to := "/lists"
	if list := c.FormValue("list"); store.ValidID(list) {
		to += "/" + list
	}
	return c.redirect(to)
}

type searchBody struct {
	Items store.Paged[store.Item]
	Pages pages
}

func (a *App) search(c *call) error {
	var body searchBody
	if c.line("q") != "" {
		items, err := a.Store.Search(c.Context(), c.User.ID, c.line("q"), c.pageOf())
		if err != nil {
			return err
		}
		body = searchBody{items, c.pages("/search", items.Page, items.Pages)}
	}
	return c.ok("search", c.Locale.T("search.title"), body)
}
