"""Which attributes tell who the patient is, and which study, place or file this is.

Source: DICOM PS3.15, annex E, table E.1-1 (Basic Application Level Confidentiality Profile, 2026),
those of its attributes that PS3.6 has a keyword for in pydicom.
"""

from __future__ import annotations

__all__ = ["CONFIDENTIAL", "CONFIDENTIAL_VRS", "HARMLESS_UIDS", "is_phi"]

CONFIDENTIAL = frozenset(
    # one text: 380 strings would be as many lines
    """
    AccessionNumber AcquisitionComments AcquisitionContextDescription AcquisitionContextSequence
    AcquisitionDeviceProcessingDescription AcquisitionFieldOfViewLabel
    AcquisitionProtocolDescription ActualHumanPerformersSequence AdditionalPatientHistory
    AddressTrial AdmissionID AdmittingDiagnosesCodeSequence AdmittingDiagnosesDescription
    Allergies AnnotationGroupDescription AnnotationGroupLabel Arbitrary AuthorObserverSequence
    BarcodeValue BeamDescription BolusDescription BranchOfService CameraOwnerName CassetteID
    CertificateOfSigner CertifiedTimestamp ChannelDerivationDescription ChannelLabel
    ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolID ClinicalTrialProtocolName
    ClinicalTrialSeriesDescription ClinicalTrialSeriesID ClinicalTrialSiteID
    ClinicalTrialSiteName ClinicalTrialSponsorName ClinicalTrialSubjectID
    ClinicalTrialSubjectReadingID ClinicalTrialTimePointDescription ClinicalTrialTimePointID
    CommentsOnRadiationDose CommentsOnThePerformedProcedureStep CompensatorDescription
    ConceptualVolumeCombinationDescription ConceptualVolumeDescription
    ConfidentialityConstraintOnPatientDataDescription ConsultingPhysicianIdentificationSequence
    ContainerComponentID ContainerDescription ContainerIdentifier
    ContentCreatorIdentificationCodeSequence ContentSequence ContrastBolusAgent
    ContributionDescription CountryOfResidence CurrentPatientLocation
    CustodialOrganizationSequence DataSetTrailingPadding DecompositionDescription
    DerivationDescription DetectorID DeviceAlternateIdentifier DeviceDescription DeviceLabel
    DeviceSerialNumber DeviceSettingDescription DigitalSignaturesSequence
    DischargeDiagnosisDescription DisplacementReferenceLabel DistributionAddress
    DoseReferenceDescription EncapsulatedDocument EntityDescription EntityLabel EntityLongLabel
    EntityName EquipmentFrameOfReferenceDescription EthnicGroup EthnicGroupCodeSequence
    FillerOrderNumberImagingServiceRequest FilterLookupTableDescription
    FixationDeviceDescription FlowIdentifier FlowIdentifierSequence FractionGroupDescription
    FractionationNotes FrameComments FrameOriginTimestamp GPSAltitude GPSAltitudeRef
    GPSAreaInformation GPSDOP GPSDestBearing GPSDestBearingRef GPSDestDistance
    GPSDestDistanceRef GPSDestLatitude GPSDestLatitudeRef GPSDestLongitude GPSDestLongitudeRef
    GPSDifferential GPSImgDirection GPSImgDirectionRef GPSLatitude GPSLatitudeRef GPSLongitude
    GPSLongitudeRef GPSMapDatum GPSMeasureMode GPSProcessingMethod GPSSatellites GPSSpeed
    GPSSpeedRef GPSStatus GPSTrack GPSTrackRef GPSVersionID GantryID GeneratorID
    GraphicAnnotationSequence HardcopyCreationDeviceID HumanPerformerOrganization
    IconImageSequence IdentifyingComments ImageComments ImagePresentationComments
    ImagingServiceRequestComments Impressions InstanceOriginStatus InstitutionAddress
    InstitutionCodeSequence InstitutionName InstitutionalDepartmentName
    InstitutionalDepartmentTypeCodeSequence InsurancePlanIdentification
    IntendedRecipientsOfResultsIdentificationSequence InterlockDescription
    InterlockOriginDescription InterpretationApproverSequence InterpretationDiagnosisDescription
    InterpretationID InterpretationIDIssuer InterpretationText IssuerOfAdmissionID
    IssuerOfAdmissionIDSequence IssuerOfClinicalTrialProtocolID IssuerOfClinicalTrialSeriesID
    IssuerOfClinicalTrialSiteID IssuerOfClinicalTrialSubjectID
    IssuerOfClinicalTrialSubjectReadingID IssuerOfClinicalTrialTimePointID IssuerOfPatientID
    IssuerOfServiceEpisodeID IssuerOfServiceEpisodeIDSequence
    IssuerOfTheContainerIdentifierSequence IssuerOfTheSpecimenIdentifierSequence LabelText
    LensMake LensModel LensSerialNumber LensSpecification LongDeviceDescription MAC MakerNote
    ManufacturerDeviceIdentifier MedicalAlerts MedicalRecordLocator MilitaryRank
    ModifiedAttributesSequence ModifiedImageDescription ModifyingDeviceID ModifyingSystem
    MultienergyAcquisitionDescription MultiplexGroupLabel NonconformingDataElementValue
    NonconformingModifiedAttributesSequence Occupation OperatorIdentificationSequence
    OrderCallbackPhoneNumber OrderCallbackTelecomInformation OrderEntererLocation
    OriginalAttributesSequence OtherClinicalTrialProtocolIDsSequence OtherPatientIDs
    OtherPatientIDsSequence ParticipantSequence PatientAddress PatientAge PatientComments
    PatientID PatientInstitutionResidence PatientInsurancePlanCodeSequence
    PatientPrimaryLanguageCodeSequence PatientPrimaryLanguageModifierCodeSequence
    PatientReligiousPreference PatientSetupPhotoDescription PatientSex PatientSexNeutered
    PatientSize PatientState PatientTelecomInformation PatientTelephoneNumbers
    PatientTransportArrangements PatientTreatmentPreparationMethodDescription
    PatientTreatmentPreparationProcedureParameterDescription PatientWeight PerformedLocation
    PerformedProcedureStepDescription PerformedProcedureStepID
    PerformedStationGeographicLocationCodeSequence PerformedStationName
    PerformedStationNameCodeSequence PerformingPhysicianIdentificationSequence PersonAddress
    PersonIdentificationCodeSequence PersonTelecomInformation PersonTelephoneNumbers
    PhysiciansOfRecordIdentificationSequence PhysiciansReadingStudyIdentificationSequence
    PlacerOrderNumberImagingServiceRequest PlateID PositionAcquisitionTemplateDescription
    PositionAcquisitionTemplateName PreMedication PregnancyStatus PrescriptionDescription
    PrescriptionNotes PrescriptionNotesSequence PriorTreatmentDoseDescription ProtocolName
    PyramidDescription PyramidLabel ROICreatorSequence ROIDescription ROIGenerationDescription
    ROIInterpreterSequence ROIName ROIObservationDescription ROIObservationLabel
    RTAccessoryDeviceSlotID RTAccessoryHolderSlotID RTPhysicianIntentNarrative RTPlanDescription
    RTPlanLabel RTPlanName RTPrescriptionLabel RTToleranceSetLabel RTTreatmentApproachLabel
    RadiationDoseIdentificationLabel RadiationDoseInVivoMeasurementLabel
    RadiationGenerationModeDescription RadiationGenerationModeLabel ReasonForOmissionDescription
    ReasonForRequestedProcedureCodeSequence ReasonForStudy ReasonForSuperseding
    ReasonForTheAttributeModification ReasonForTheImagingServiceRequest
    ReasonForTheRequestedProcedure ReasonForVisit ReasonForVisitCodeSequence
    ReferencedDigitalSignatureSequence ReferencedPatientAliasSequence
    ReferencedPatientPhotoSequence ReferencedPatientSequence
    ReferencedPerformedProcedureStepSequence ReferencedSOPInstanceMACSequence
    ReferencedStudySequence ReferringPhysicianAddress ReferringPhysicianIdentificationSequence
    ReferringPhysicianTelephoneNumbers RegionOfResidence RequestAttributesSequence
    RequestedContrastAgent RequestedProcedureComments RequestedProcedureDescription
    RequestedProcedureID RequestedProcedureLocation RequestedSeriesDescription RequestingService
    RespiratoryMotionCompensationTechniqueDescription ResponsibleOrganization ResultsComments
    ResultsDistributionListSequence ResultsID ResultsIDIssuer ScheduledHumanPerformersSequence
    ScheduledPatientInstitutionResidence ScheduledPerformingPhysicianIdentificationSequence
    ScheduledProcedureStepDescription ScheduledProcedureStepID ScheduledProcedureStepLocation
    ScheduledStationGeographicLocationCodeSequence ScheduledStationName
    ScheduledStationNameCodeSequence ScheduledStudyLocation SecondaryCaptureDeviceID
    SelectorASValue SelectorLOValue SelectorLTValue SelectorOBValue SelectorSHValue
    SelectorSTValue SelectorUNValue SelectorUTValue SeriesDescription ServiceEpisodeDescription
    ServiceEpisodeID SetupTechniqueDescription ShieldingDeviceDescription SlideIdentifier
    SmokingStatus SourceIdentifier SourceManufacturer SourceOfPreviousValues SourceSerialNumber
    SpecialNeeds SpecimenAccessionNumber SpecimenDetailedDescription SpecimenIdentifier
    SpecimenPreparationSequence SpecimenShortDescription StationName StructureSetDescription
    StructureSetLabel StructureSetName StudyComments StudyDescription StudyID StudyIDIssuer
    TelephoneNumberTrial TextComments TextString TimezoneOffsetFromUTC TopicAuthor TopicKeywords
    TopicSubject TopicTitle TransducerIdentificationSequence TreatmentMachineName
    TreatmentPositionGroupLabel TreatmentSite TreatmentSites TreatmentTechniqueNotes
    TreatmentToleranceViolationDescription UDISequence UnformattedTextValue
    UniqueDeviceIdentifier UserContentLabel UserContentLongLabel
    VerbalSourceIdentifierCodeSequenceTrial VerifyingObserverIdentificationCodeSequence
    VerifyingObserverSequence VerifyingOrganization VisitComments WaveformAnnotationSequence
    WaveformFilterDescription XRayDetectorID XRayDetectorLabel XRaySourceID

    IssuerOfAccessionNumberSequence IssuerOfPatientIDQualifiersSequence
    OrderFillerIdentifierSequence OrderPlacerIdentifierSequence
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PrivateInformation
    """.split()  # noqa: SIM905
)
"""Keywords of table E.1-1 but those that `CONFIDENTIAL_VRS` covers, and, behind the empty line, of
what says the same elsewhere. A sequence stands for all that is in it.

`ReferencedImageSequence` and `SourceImageSequence` are not among them: of these the table keeps
all but the UIDs.
"""

CONFIDENTIAL_VRS = frozenset(("AE", "DA", "DT", "PN", "TM", "UI", "UR"))
"""Value representations of names, dates, times, addresses and UIDs."""

HARMLESS_UIDS = frozenset(
    """
    AffectedSOPClassUID AvailableTransferSyntaxUID CodingSchemeUID
    ContextGroupExtensionCreatorUID ContextUID CreatorVersionUID
    EncryptedContentTransferSyntaxUID FlowTransferSyntaxUID ImplementationClassUID
    MACCalculationTransferSyntaxUID MappingResourceUID MediaStorageSOPClassUID
    OriginalSpecializedSOPClassUID PertinentSOPClassesInSeries PertinentSOPClassesInStudy
    PrivateInformationCreatorUID RTVCommunicationSOPClassUID ReferencedRelatedGeneralSOPClassUIDInFile
    ReferencedSOPClassUID ReferencedSOPClassUIDInFile ReferencedTransferSyntaxUIDInFile
    RelatedGeneralSOPClassUID RequestedSOPClassUID SOPClassUID SOPClassesInStudy
    SOPClassesSupported SegmentationTemplateUID StoredInstanceTransferSyntaxUID TransferSyntaxUID
    """.split()  # noqa: SIM905
)
"""Keywords of UIDs that name a kind, a code or a program, and no person, study or file."""

CURVES, OVERLAYS = 0x50, 0x60
"""Upper halves of the group numbers of which there are several."""
OVERLAY_DATA, OVERLAY_COMMENTS = 0x3000, 0x4000


def is_phi(tag: int, keyword: str, vr: str) -> bool:
    """Return whether an attribute is protected health information.

    Parameters
    ----------
    tag
        Group and element number in one.
    keyword
        Its keyword; empty or the tag in parentheses where it has none. What has none may be
        anything, and counts.
    vr
        Its value representation, ``"PN"``.

    Examples
    --------
    >>> is_phi(0x00100010, "PatientName", "PN"), is_phi(0x00080060, "Modality", "CS")
    (True, False)
    >>> is_phi(0x0020000D, "StudyInstanceUID", "UI"), is_phi(0x00080016, "SOPClassUID", "UI")
    (True, False)
    >>> is_phi(0x00091001, "", "DS")  # private
    True
    """
    group, number = tag >> 16, tag & 0xFFFF
    if group % 2 or group >> 8 == CURVES or keyword in CONFIDENTIAL:
        return True
    if group >> 8 == OVERLAYS:
        return number in {OVERLAY_DATA, OVERLAY_COMMENTS}
    unknown = not keyword or keyword.startswith("(")
    return unknown or (vr in CONFIDENTIAL_VRS and keyword not in HARMLESS_UIDS)
