-- The health of Arcane's objects in Argo CD: of streams of every plugin, StreamClasses, templates and backfill requests.
-- argocd-cm.yaml beside this says it to Argo CD.

-- The older words are those of plugins whose kinds know no others.
local words = {
  READY = "Ready", INFO = "Reconciling", ERROR = "Stalled",
  RESTARTING = "Pending", RUNNING = "Running", RELOADING = "Backfilling", SUSPENDED = "Suspended", FAILED = "Failed",
}
local function word(said)
  return words[said] or said
end

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[word(condition.type)] = condition
end
local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end
local function verdict(health, condition)
  local message = condition.message or ""
  if condition.reason ~= nil and condition.reason ~= "" then
    message = condition.reason .. ": " .. message
  end
  return {status = health, message = message}
end

if status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the controller has not seen the last change yet"}
end
if holds("Stalled") then
  return verdict("Degraded", conditions.Stalled)
end
-- A suspended stream is as it should be. Argo CD's own "Suspended" would let a sync with several waves wait for ever.
if holds("Ready") then
  -- So is what waits for an update, or whose rolling update has stopped: the stream that failed is "Degraded" by itself. A
  -- class that said so, too, would keep a sync with waves from the template that mends it, which comes after the class.
  if conditions.UpToDate ~= nil and conditions.UpToDate.status == "False" then
    return verdict("Healthy", conditions.UpToDate)
  end
  return verdict("Healthy", conditions.Ready)
end
if conditions.Ready ~= nil then
  return verdict("Progressing", conditions.Ready)
end

-- A kind without room for conditions, or without a status at all.
local phase = word(status.phase or (obj.metadata.annotations or {})["arcane/phase"])
local healths = {
  Running = "Healthy", Backfilling = "Healthy", Scheduled = "Healthy", Suspended = "Healthy",
  Pending = "Progressing", Failed = "Degraded",
}
if phase ~= nil then
  return {status = healths[phase] or "Unknown", message = phase}
end
return {status = "Progressing", message = "the controller has not seen it yet"}
