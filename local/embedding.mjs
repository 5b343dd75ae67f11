// Lite 0.10.0 treats any table with foreign keys to two others as a many-to-many relationship between them, and then
// refuses `agent?select=*,plan(*)` as ambiguous, because agent_event and build refer to both. PostgREST (since 10) asks
// for a primary key that contains both foreign keys: https://github.com/PostgREST/postgrest/issues/2070. So where
// there is exactly one foreign key between two tables, it is named for Lite: `agent?select=*,plan!agent_plan_fkey(*)`.
// Where PostgREST sees a join table, too, nothing is named, and Lite answers as PostgREST does: 300 PGRST201.

/** The select parameter with every embedding's foreign key named, where there is one and the caller named none. */
export function nameForeignKeys(select, table, foreignKeys, joined) {
  const parents = [table]
  return select.replaceAll(/([\w:.!]*)\(|\)/g, (text, embedding) => {
    if (text === ')') {
      parents.pop()
      return text
    }
    const [target, ...modifiers] = embedding.replace(/^\.\.\./, '').split(':').at(-1).split('!')
    const parent = parents.at(-1)
    parents.push(target)
    if (modifiers.some((modifier) => !['inner', 'left'].includes(modifier))) return text
    const between = foreignKeys.filter(
      ({ source, destination }) =>
        (source === parent && destination === target) || (source === target && destination === parent),
    )
    const areJoined = joined.some((pair) => pair.includes(parent) && pair.includes(target))
    if (between.length !== 1 || areJoined) return text
    const plain = embedding.slice(0, embedding.length - modifiers.map((modifier) => `!${modifier}`).join('').length)
    return `${[plain, between[0].name, ...modifiers].join('!')}(`
  })
}
